# strata run: store paths are mounted, and the rest is loaded once. The container equals that of the loaded image, and
# nothing of a run remains, however it ends.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
. "$root/tests/same-files.sh"
need_command jq
export XDG_CACHE_HOME=$work/cache
first=$(greeter runs:t one)
second=$(greeter runs:t two)
busybox=$(build pkgs.busybox)

# started COMMAND…: starts strata run in the background; pid is its process.
started() { in_background "$strata" run "$@"; }
in_background() {
  rm -f "$work/out" "$work/log"
  "$@" >"$work/out" 2>"$work/log" &
  pid=$!
  wait_for "$pid" grep -q ready "$work/out" || { cat "$work/log"; fail "the container does not start"; }
}
# Sends SIGTERM to the process; status is its exit status.
terminate() {
  kill -TERM "$pid"
  status=0
  wait "$pid" || status=$?
}
# The container prints ready, and ends with 42 after SIGTERM.
coreutils=$(build pkgs.coreutils)
waits='trap "exit 42" TERM; echo ready; while :; do '$coreutils'/bin/sleep 0.05; done'
images() { "$engine" images --format '{{.Repository}}:{{.Tag}}' | sed 's,^localhost/,,' | sort | tr '\n' ' '; }
containers() { "$engine" ps --all --quiet --filter label=strata.run; }
# is_root PATH: whether the garbage collector keeps the path. It searches the environment of processes.
is_root() { nix-store --gc --print-roots 2>/dev/null | grep -F -e '/proc/' -e '{' | grep -F -- "$1" >/dev/null; }
nothing_left() {
  local left
  left=$(containers) && [[ ! $left ]] && ! is_root "$hello"
}

odd='let
  tree = pkgs.runCommand "tree" { } "mkdir -p $out/bin $out/empty; echo x >$out/file; ln -s file $out/link; ln -s $out/bin $out/own; echo x >$out/bin/tool; chmod +x $out/bin/tool";
  link = pkgs.runCommand "link" { } "ln -s ${tree} $out";
  file = pkgs.writeText "file" "text";
  program = pkgs.writeScript "program" "#!/bin/sh";
in '
check_engine() {
  # A program, its exit status, its input and its environment. The loaded image has no program.
  same "$("$strata" run --engine "$engine" "$first" --network none)" one
  [[ $(images) == strata-run/runs:* ]] || fail "images: $(images)"
  shared=$(images)
  same "$("$strata" run --engine "$engine" "$first" --network none -e A='b c' -- "$bash/bin/bash" -c 'echo "$A" "$@"' x '*')" 'b c *'
  same "$(echo input | "$strata" run "$first" -i --network none --engine="$engine" -- "$bash/bin/bash" -c 'read -r line; echo "$line"')" input
  status=0
  "$strata" run --engine "$engine" "$first" --network none -- "$bash/bin/bash" -c 'exit 7' || status=$?
  same "$status" 7
  for at in {1..10}; do "$strata" run --engine "$engine" "$first" --network none >/dev/null; done
  same "$(images)" "$shared"
  size=$("$engine" image inspect --format '{{.Size}}' "${shared% }")
  ((size < 100000)) || fail "$size bytes were loaded"

  # The container ends with 42, but podman 4.3 of a user without root ends with 0 after a signal. So does strata.
  status_of_engine=42
  if [[ $engine == podman ]] && ((EUID != 0)); then
    name=$("$strata" copy "$first" "$transport:direct:t" --quiet)
    in_background podman run --rm --network none "$name" "$bash/bin/bash" -c "$waits"
    terminate
    status_of_engine=$status
    # The container is removed after its end.
    wait_for $$ podman rmi "$name"
  fi
  # Signals reach the program; while it runs, its store paths are kept.
  hello=$(jq -r '[.layers[].paths[]?.path][0]' "$first")
  started --engine "$engine" "$first" --network none -- "$bash/bin/bash" -c "$waits"
  is_root "$hello" || fail "$hello could be collected"
  terminate
  same "$status" "$status_of_engine"
  wait_for $$ nothing_left
  # If strata is killed, the container ends.
  started --engine "$engine" "$first" --network none -- "$bash/bin/bash" -c "$waits"
  kill -KILL "$pid"
  wait "$pid" || true
  wait_for $$ nothing_left
  wait_for $$ grep -q 'run was killed; its container was removed' "$work/log"
  # A detached container continues, and its store paths are kept.
  id=$("$strata" run --engine "$engine" "$first" --detach --network none -- "$bash/bin/bash" -c "$waits")
  is_root "$hello" || fail "$hello could be collected while a detached container runs"
  "$engine" stop --time 5 "$id" >/dev/null
  wait_for $$ nothing_left
  # A container without --rm stays.
  "$strata" run --engine "$engine" "$first" --rm=false --name kept --network none >/dev/null
  same "$("$engine" inspect --format '{{.State.Status}}' kept)" exited
  "$engine" rm kept >/dev/null

  # A new version replaces the previous one.
  same "$("$strata" run --engine "$engine" "$second" --network none)" two
  [[ $(images) == strata-run/runs:* && $(images) != *' '*' ' && $(images) != "$shared" ]] || fail "images: $(images)"

  # A shell with the image's environment and root: the given shell, whose closure is mounted, or that of the image.
  same "$("$strata" run --engine "$engine" "$without_shell" --shell "$bash/bin/bash" --network none -- -c 'echo "$BASH" "$A" /*; hello')" \
    "$bash/bin/bash b /bin /dev /etc /nix /proc /${run_directory}share /sys"$'\n''Hello, world!'
  same "$("$strata" run --engine "$engine" "$with_shell" --shell "$bash/bin/bash" --network none -- -c 'echo "$BASH"')" /bin/bash
  same "$(echo 'echo "$A"' | "$strata" run --engine "$engine" "$without_shell" --shell "$bash/bin/bash" --network none)" b
  "$strata" run --engine "$engine" "$first" --shell /bin/sh 2>"$work/log" && fail "a shell of the machine is mounted"
  grep -q -e '--shell /bin/sh: not a program in the store; write /nix/store/…/bin/bash' "$work/log" || { cat "$work/log"; fail "no remedy"; }

  # Words that are not options, and a missing store path.
  "$strata" run --engine "$engine" "$first" -it sh 2>"$work/log" && fail "a command without -- is an image"
  grep -q 'sh: not an option of the engine; write -- before the command' "$work/log" || { cat "$work/log"; fail "no remedy"; }

  # The files of all kinds of images.
  for image in \
    'buildImage { name = "odd"; maxLayers = 3; layers = [ (buildLayer { deps = [ tree link file program ]; }) ]; copyToRoot = [ tree ]; }' \
    'buildImage { name = "owners"; layers = [ (buildLayer { deps = [ tree ]; perms = [ { path = tree; regex = ".*"; mode = "0700"; uid = 12; gid = 34; } ]; }) ]; copyToRoot = [ file2 tree ]; }' \
    'buildImage { name = "database"; initializeNixDatabase = true; config.Cmd = [ "${program}" "${file}" "${link}" ]; }' \
    'buildImage { name = "user"; nixUid = 7; nixGid = 8; initializeNixDatabase = true; copyToRoot = [ tree ]; }' \
    'buildImage { name = "blob"; copyToRoot = [ tree ]; layers = [ (buildLayer { reproducible = false; deps = [ file ]; perms = [ { path = file; regex = ".*"; mode = "0600"; } ]; }) (buildLayer { deps = [ program ]; }) ]; config.Cmd = [ "${file}" ]; }' \
    'buildImage { name = "based"; copyToRoot = [ tree ]; config.Cmd = [ "${program}" "${file}" ]; fromImage = makeContainerImage { name = "base"; compressor = "none"; layers = [ pkgs.hello tree ]; fakeRootCommands = "mkdir mine && touch mine/file && chown -R 5:6 mine && chmod 4711 mine/file"; config.User = "5:6"; }; }' \
    'dockerTools.buildImage { name = "copied"; compressor = "none"; copyToRoot = [ tree ]; config.Cmd = [ "${program}" ]; }'; do
    same_files "$(build "$odd let file2 = pkgs.writeTextDir \"etc/conf\" \"text\"; in $image")"
  done
  "$engine" images --quiet | sort -u | xargs "$engine" rmi --force >/dev/null
}

bash=$(build pkgs.bash)
environment='config.Env = [ "PATH=/bin" "A=b" ]'
without_shell=$(build "buildImage { name = \"hello\"; copyToRoot = [ pkgs.hello ]; $environment; }")
with_shell=$(build "buildImage { name = \"bash\"; copyToRoot = [ pkgs.bash ]; $environment; }")
if [[ ${docker-} ]]; then
  engine=docker transport=docker-daemon run_directory=
  check_engine
  # A daemon of another machine cannot mount store paths.
  on_another_machine "$strata" run "$first" --network none >"$work/out" 2>"$work/log"
  same "$(<"$work/out")" one
  grep -q 'loading the whole image: the docker daemon at .* is on another machine' "$work/log" || { cat "$work/log"; fail "no message that the image is loaded"; }
  # The program of an image.
  program=$(greeter runs:t three run)
  same "$("$program/bin/run" --network none)" three
  shell=$(greeter runs:t three shell)
  same "$("$shell/bin/shell" --network none -- -c 'type -t type')" builtin
  # A compose file with the mounts of a service.
  need_command docker-compose
  "$strata" compose-mounts "$first" --service greeter >"$work/mounts.json"
  echo 'services: { greeter: { network_mode: none, image: replaced } }' >"$work/compose.yaml"
  composed() { docker-compose --project-name composed --file "$work/compose.yaml" --file "$work/mounts.json" "$@"; }
  composed up --no-color >"$work/out" 2>"$work/log" || { cat "$work/log"; fail "compose does not start the service"; }
  grep -qx 'greeter_1 *| one' "$work/out" || { cat "$work/out"; fail "the service of compose printed nothing"; }
  composed down >/dev/null 2>&1
  # Archives are loaded as well.
  "$strata" copy "$first" "oci-archive:$work/archive.tar:some:name" >/dev/null
  same "$("$strata" run "$work/archive.tar" --network none)" one
  docker images --quiet | sort -u | xargs docker rmi --force >/dev/null
fi
# A program that is not of the system, such as podman in a separate root directory, is found by PATH.
check_podman() {
  printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/$1/containers" "$work/$1/run" >"$work/storage.conf"
  printf '[containers]\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n[engine]\nruntime="runc"\n' >"$work/containers.conf"
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
  engine=podman transport=containers-storage run_directory=run' '/
  check_engine
}
if command -v podman >/dev/null; then check_podman 4; fi
if debian13=$(online "$root/dev/debian13" 2>"$work/log"); then
  mkdir "$work/programs"
  printf '#!/bin/sh\ndebian13="%s" exec "%s" run /usr/bin/podman "$@"\n' "$debian13" "$root/dev/debian13" >"$work/programs/podman"
  chmod +x "$work/programs/podman"
  PATH=$work/programs:$PATH
  same "$(podman --version | cut -d . -f 1)" "podman version 5"
  check_podman 5
else
  tail -n 3 "$work/log"
  skip_part "mmdebstrap cannot make a Debian 13 here"
fi
