# Store paths in the result of a script are in the image, with their closure.
. "$root/tests/lib.sh"
need_command jq
[[ ${docker-} ]] || skip "no docker daemon"

# check_output EXPR EXPECTED: runs a container, and compares its output.
check_output() {
  local name
  name=$(build "$1" | xargs cat | load)
  same "$1: $(run "$name")" "$1: $2"
  docker rmi "$name" >/dev/null
}
link='ln -s ${pkgs.hello} hi'
written='echo "exec ${pkgs.hello}/bin/hello" > hi.sh'
runs_link='config.Cmd = [ "/hi/bin/hello" ];'
runs_written='config.Cmd = [ "${pkgs.bash}/bin/bash" "/hi.sh" ];'
says="Hello, world!"
for image in 'dockerTools.buildImage {' 'dockerTools.buildLayeredImage {' 'makeContainerImage {' 'makeContainerImage { layered = false;'; do
  check_output "$image name = \"x\"; extraCommands = ''$link''; $runs_link }" "$says"
  check_output "$image name = \"x\"; extraCommands = ''$written''; $runs_written }" "$says"
done
for more in '' 'enableFakechroot = true;'; do
  check_output "dockerTools.buildLayeredImage { name = \"x\"; $more fakeRootCommands = ''$link''; $runs_link }" "$says"
  check_output "dockerTools.buildLayeredImage { name = \"x\"; $more fakeRootCommands = ''$written''; $runs_written }" "$says"
done
check_output "dockerTools.buildImage { name = \"x\"; runAsRoot = ''cd /; $link''; $runs_link }" "$says"
check_output "dockerTools.buildImage { name = \"x\"; runAsRoot = ''$written''; $runs_written }" "$says"
# The shells of accounts are in the image.
check_output "dockerTools.buildImage { name = \"x\"; runAsRoot = dockerTools.shadowSetup; config.Cmd = [ \"\${pkgs.busybox}/bin/sh\" \"-c\"
  ''IFS=: read -r _ _ _ _ _ _ shell </etc/passwd; \$shell -c 'echo there' ''  ]; }" there
# The same for a stream, which does not run scripts again.
stream=$(build "dockerTools.streamLayeredImage { name = \"x\"; tag = \"t\"; extraCommands = ''$link''; $runs_link }")
same "$("$stream" | load)" x:t
same "$(run x:t)" "$says"
docker rmi x:t >/dev/null
both='let arguments = { name = "x"; extraCommands = "echo made > made"; }; in'
customisations() { nix-store -q --requisites "$(nix-instantiate --expr "$(expression "$both $1")" 2>/dev/null)" | grep -- '-x-customisation.drv$'; }
same "$(customisations 'dockerTools.streamLayeredImage arguments')" "$(customisations 'dockerTools.buildLayeredImage (arguments // { tag = "t"; compressor = "none"; })')"

# A Nix database lists these paths, and scripts have a database.
nix='Env = [ "PATH=/bin" "NIX_CONFIG=build-users-group =" "HOME=/" "USER=root" ];
  Cmd = [ "sh" "-c" "nix-store --verify --check-contents >/log 2>&1 && echo verified || cat /log; nix-store -q --size /hi >/dev/null && cat /seen; stat -c %u /nix/var/nix/db/db.sqlite" ];'
check_output "dockerTools.buildLayeredImageWithNixDb { name = \"x\"; contents = [ pkgs.nix pkgs.bash pkgs.coreutils ]; config = { $nix };
  extraCommands = ''test -s nix/var/nix/db/db.sqlite && echo seen > seen; $link''; fakeRootCommands = ''chown 7 nix/var/nix/db/db.sqlite''; }" $'verified\nseen\n7'
check_output "dockerTools.buildImageWithNixDb { name = \"x\"; copyToRoot = [ pkgs.nix pkgs.bash pkgs.coreutils ]; config = { $nix };
  runAsRoot = ''test -s nix/var/nix/db/db.sqlite && echo seen > /seen; cd /; $link; chown 7 nix/var/nix/db/db.sqlite''; }" $'verified\nseen\n7'

# The exit status of a script is that of its last command, even while fakeroot is busy.
path=$(build 'dockerTools.buildLayeredImage { name = "x"; compressor = "none"; fakeRootCommands = "touch file{1..2000}; chown 7:8 file*"; }')
same "$(tar -xOf "$path" "$(tar -xOf "$path" manifest.json | jq -r '.[0].Layers[-1]')" | tar -tvP --numeric-owner | grep -c '7/8 .*/file')" 2000

# Scripts have stdenv's programs and functions. For scripts that run as root, the programs of the image come last.
# (nixpkgs: pkgs/stdenv/generic/common-path.nix and setup.sh; build-support/docker/default.nix, shellScript)
tools='
  for program in find diff sed grep awk tar gzip bzip2 make bash patch xz file; do type -P $program >/dev/null || { echo "no $program"; exit 1; }; done
  printf "all:\n\t@echo made by make\n" > Makefile; make > lines; rm Makefile
  echo one | xz | xz -d | awk "{ print \$1, 2 }" >> lines
  echo "@who@ says [x] of @word@" > template; export word="a & b"
  substituteInPlace template --replace-fail "[x]" "\\1" --subst-var-by who nobody --subst-var word; cat template >> lines; rm template
  printf "#!/usr/bin/env bash\necho patched\n" > script; chmod 755 script; patchShebangs script >&2; ./script >> lines; rm script
  for file in no-such-*; do echo "$file" >> lines; done
  list=(one "two three"); appendToVar list four; concatStringsSep , list >> lines; stripHash $0 >&2'
for image in "dockerTools.buildLayeredImage { extraCommands = ''$tools'';" "dockerTools.buildImage { extraCommands = ''$tools'';"; do
  check_output "$image name = \"x\"; config.Cmd = [ \"\${pkgs.coreutils}/bin/cat\" \"/lines\" ]; }" $'made by make\none 2\nnobody says \\1 of a & b\npatched\none,two three,four'
done
build_fails 'dockerTools.buildLayeredImage { name = "x"; extraCommands = "echo x > f\nsubstituteInPlace f --replace-fail y z"; }' \
  "substitute: f does not have y" "line 2 of extraCommands failed"
build_fails 'dockerTools.buildLayeredImage { name = "x"; fakeRootCommands = "false | true"; }' "line 1 of fakeRootCommands failed"
check_output 'dockerTools.buildImage { name = "x"; copyToRoot = [ (pkgs.writeShellScriptBin "own" "echo the image says so") pkgs.coreutils ];
  runAsRoot = "own > /lines; type -P cat | sed s,/store/.*,/store, >> /lines"; config.Cmd = [ "/bin/cat" "/lines" ]; }' $'the image says so\n/nix/store'

# Pipes and unreadable files are in images too.
check_output 'dockerTools.buildLayeredImage { name = "x"; contents = [ pkgs.busybox ]; extraCommands = "mkfifo -m 600 pipe; echo x > secret; chmod 0 secret";
  config = { Env = [ "PATH=/bin" ]; Cmd = [ "stat" "-c" "%n %a %F" "/pipe" "/secret" ]; }; }' $'/pipe 600 fifo\n/secret 0 regular file'
