# `uid`, `gid` and tools in the image, as in nixpkgs.
. "$root/tests/lib.sh"
[[ ${docker-} ]] || skip "no docker daemon"

# stat EXPR FILES…: prints mode, owner and group of each file in a container.
owners() {
  local name
  name=$(build "$1" | xargs cat | load)
  run --entrypoint "$(build pkgs.busybox)/bin/busybox" "$name" stat -c '%n %a %u:%g' "${@:2}"
  docker rmi "$name" >/dev/null
}
busybox=$(build pkgs.busybox)
contents='[ (pkgs.writeTextDir "etc/file" "${pkgs.busybox}") ]'

# buildImage: they are the owner of files that are copied to the root. Store paths belong to root. (nixpkgs:
# pkgs/build-support/docker/default.nix, mkPureLayer's tar and the one that appends the closure; mkRootLayer takes
# neither.)
for script in '' 'extraCommands = "echo made > made";'; do
  same "$(owners "dockerTools.buildImage { name = \"x\"; uid = 7; gid = 8; copyToRoot = $contents; $script }" /etc /etc/file /nix /nix/store "$busybox")" \
    "/etc 755 7:8
/etc/file 444 7:8
/nix 755 0:0
/nix/store 755 0:0
$busybox 555 0:0"
done
same "$(owners "dockerTools.buildImage { name = \"x\"; uid = 7; gid = 8; copyToRoot = $contents; runAsRoot = \"true\"; }" /etc /etc/file)" \
  $'/etc 755 0:0\n/etc/file 444 0:0'

# Layered images: they are the owner of the store and its paths, so that an unprivileged Nix can add paths, but not of
# files that scripts made. (nixpkgs: stream_layered_image.py, archive_paths_to; the customisation layer is another tar.)
for image in 'dockerTools.buildLayeredImage { contents' 'makeContainerImage { layers'; do
  for script in '' 'extraCommands = "echo made > made";'; do
    same "$(owners "$image = $contents; name = \"x\"; uid = 7; gid = 8; $script }" / /nix /nix/store "$busybox")" \
      "/ 755 0:0
/nix 755 7:8
/nix/store 755 7:8
$busybox 555 7:8"
  done
done

# An unprivileged Nix in the container adds a path.
path=$(build 'dockerTools.buildLayeredImageWithNixDb { name = "user"; tag = "t"; uid = 7; gid = 8; contents = [ pkgs.nix pkgs.busybox ];
  config = { User = "7:8"; Env = [ "PATH=/bin" "HOME=/tmp" "USER=me" ]; Cmd = [ "sh" "-c" "echo text > /tmp/file; nix-store --add /tmp/file >/tmp/added && cat $(cat /tmp/added)" ]; };
  extraCommands = "mkdir -m 1777 tmp"; }')
load <"$path" >/dev/null
same "$(run user:t)" text
docker rmi user:t >/dev/null

# usrBinEnv is that of the image's package set, not of the building machine.
name=$(build '(import '"$root"'/nix { pkgs = pkgs // { coreutils = pkgs.writeShellScriptBin "env" "echo of the image"; }; }).dockerTools.usrBinEnv' |
  { read -r path; build "dockerTools.buildImage { name = \"x\"; copyToRoot = builtins.storePath $path; config.Cmd = [ \"/usr/bin/env\" ]; }"; } | xargs cat | load)
same "$(run "$name")" "of the image"
docker rmi "$name" >/dev/null
