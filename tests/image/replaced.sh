# A file that replaces a file of the base image inherits neither its mode nor its owner, whichever way it is replaced.
. "$root/tests/lib.sh"
need_command python3
[[ ${docker-} ]] || skip "no docker daemon"

# A base with setuid programs on a merged /usr.
cat >"$work/base.py" <<'PYTHON'
import hashlib, io, json, sys, tarfile

layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar:
    def add(name, kind, mode, owner, text=b"", link=""):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.uid, entry.gid, entry.size, entry.linkname = kind, mode, owner, owner, len(text), link
        tar.addfile(entry, io.BytesIO(text))
    for name in ["etc", "usr", "usr/bin", "home"]:
        add(name, tarfile.DIRTYPE, 0o755, 0)
    add("bin", tarfile.SYMTYPE, 0o777, 0, link="usr/bin")
    add("etc/x", tarfile.REGTYPE, 0o4777, 33, b"base")
    add("etc/y", tarfile.SYMTYPE, 0o777, 0, link="x")
    add("etc/z", tarfile.REGTYPE, 0o600, 0, b"base")
    add("usr/bin/own", tarfile.REGTYPE, 0o4755, 0, b"base")
    for link in sys.argv[2:]:
        add(link, tarfile.SYMTYPE, 0o777, 0, link="/elsewhere/" + link)
layer = layer.getvalue()
config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
with tarfile.open(sys.argv[1], "w") as tar:
    for name, text in [("config.json", config), ("layer.tar", layer),
            ("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["base:t"], "Layers": ["layer.tar"]}]).encode())]:
        entry = tarfile.TarInfo(name)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
PYTHON
python3 "$work/base.py" "$work/base.tar"
files='(pkgs.runCommand "files" { } "mkdir -p $out/etc $out/bin; for at in x y z; do echo new > $out/etc/$at; done; echo > $out/bin/tool")'
statement='stat -c "%n %a %u %g %F" /etc/x /etc/y /etc/z /bin /usr/bin /usr/bin/own /usr/bin/tool'
# listing ARGUMENTS: lists files in a container.
listing() {
  local name
  name=$(build "makeContainerImage { name = \"replaced\"; layered = false; fromImage = $work/base.tar; layers = [ $files ]; $1 }" | xargs cat | load)
  run --volume /nix/store:/nix/store:ro --env PATH="$(build pkgs.coreutils)/bin" "$name" "$(build pkgs.bash)/bin/bash" -c "$statement"
  docker rmi "$name" >/dev/null
}
expected='/etc/x 444 0 0 regular file
/etc/y 444 0 0 regular file
/etc/z 444 0 0 regular file
/bin 777 0 0 symbolic link
/usr/bin 755 0 0 directory
/usr/bin/own 4755 0 0 regular file
/usr/bin/tool 444 0 0 regular file'
same "$(listing 'runAsRoot = "true";')" "$expected"
# Files that a script replaces, with programs that fakeroot intercepts and one that it does not.
same "$(listing 'runAsRoot = "rm /etc/x; echo new > /etc/new; mv /etc/new /etc/x; chmod 444 /etc/x";')" "$expected"
same "$(listing 'runAsRoot = "${pkgs.busybox}/bin/busybox rm /etc/x /etc/z; for at in x z; do echo new > /etc/$at; ${pkgs.busybox}/bin/busybox chmod 444 /etc/$at; done";')" "$expected"

# Without a script on the base, its link stays in every function, and so does /bin/own.
tools='(pkgs.runCommand "tools" { } "mkdir -p $out/bin $out/share; echo > $out/bin/tool; echo > $out/share/file; ln -s share $out/etc")'
# stands FUNCTION ARGUMENTS: prints /bin, and the program that a container finds in it.
stands() {
  local name
  name=$(build "$1 { name = \"stands\"; tag = \"t\"; fromImage = $work/base.tar; $2 }" | xargs cat | load)
  run --volume /nix/store:/nix/store:ro --env PATH="$(build pkgs.coreutils)/bin" "$name" "$(build pkgs.bash)/bin/bash" \
    -c 'stat -c "%n %a %F" /bin /usr/bin /etc/. /etc/x; ls /bin/ | tr "\n" " "'
  docker rmi "$name" >/dev/null
}
kept='/bin 777 symbolic link
/usr/bin 755 directory
/etc/. 755 directory
/etc/x 4777 regular file'
for arguments in "makeContainerImage { layers = [ $tools ]; };" "makeContainerImage { layered = false; layers = [ $tools ]; };" \
  "dockerTools.buildLayeredImage { contents = [ $tools ]; };" "dockerTools.buildImage { copyToRoot = [ $tools ]; };"; do
  function=${arguments%% *} more=${arguments#* { } more=${more% \};}
  same "$(stands "$function" "$more")" "$kept"$'\nown tool '
  # Files that a script adds are moved in the same way.
  same "$(stands "$function" "$more extraCommands = \"mkdir -p bin; echo > bin/made\";")" "$kept"$'\nmade own tool '
  same "$(stands "$function" "$more keepBaseDirlinks = false;" | grep /bin)" $'/bin 755 directory\n/usr/bin 755 directory'
done
build_fails "buildImage { name = \"x\"; fromImage = $work/base.tar; copyToRoot = [ $tools ]; }" "/bin is a link to /usr/bin" "would replace it" \
  "Put the files into usr/bin/" "keepBaseDirlinks = false"
build "buildImage { name = \"x\"; fromImage = $work/base.tar; copyToRoot = [ $tools ]; keepBaseDirlinks = false; }" >/dev/null
build_fails "makeContainerImage { fromImage = $work/base.tar; layers = [ $tools ]; extraCommands = \"mkdir -p usr/bin; echo 2 > usr/bin/tool\"; }" \
  "the base image's /bin is a link to /usr/bin, so files of both are at one place" "tool occurs twice"

# A base whose /nix, /proc and /dev are links: mounts for scripts and the Nix database stay in the image.
python3 "$work/base.py" "$work/links.tar" nix proc dev
path=$(build "dockerTools.buildImageWithNixDb { name = \"links\"; compressor = \"none\"; fromImage = $work/links.tar; copyToRoot = [ pkgs.hello ];
  runAsRoot = \"ls /nix/store/*-hello-* >/dev/null; echo made > /made\"; }")
tar -xOf "$path" "$(tar -xOf "$path" manifest.json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["Layers"][-1])')" | tar -tP >"$work/listing"
for name in /made /elsewhere/nix/var/nix/db/db.sqlite; do grep -qxF "$name" "$work/listing" || { cat "$work/listing"; fail "$name is not in the layer"; }; done
lacks -E '^/elsewhere/(proc|dev)/' "$work/listing"
