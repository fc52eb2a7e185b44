# strata run ends like its container, on a terminal and after ctrl-C. Nothing remains after the client, the engine or a
# store path disappears.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
export XDG_CACHE_HOME=$work/cache
image=$(greeter ends:t one)
bash=$(build pkgs.bash)/bin/bash
sleep=$(build pkgs.coreutils)/bin/sleep
# A client of podman forwards signals only some time after the container has started, and ends on earlier ones.
waits='for _ in {1..20}; do '$sleep' 0.05; done; echo ready; while :; do '$sleep' 0.05; done'

containers() { "$engine" ps --all --quiet --filter label=strata.run; }
is_root() { nix-store --gc --print-roots 2>/dev/null | grep -F -e '/proc/' -e '{' | grep -F -- "$1" >/dev/null; }
nothing_left() {
  local left
  left=$(containers) && [[ ! $left ]] && ! is_root "${bash%/bin/bash}"
}
has_logged() { grep -qF -- "$1" "$work/log"; }
# start IMAGE COMMAND…: starts in the background; pid is its process.
start() {
  local image=$1
  shift
  rm -f "$work/out" "$work/log"
  "$strata" run --engine "$engine" "$image" --network none -- "$@" >"$work/out" 2>"$work/log" &
  pid=$!
  wait_for "$pid" grep -q ready "$work/out" || { cat "$work/log"; fail "the container does not start"; }
}
# ends_with STATUS: waits for the process of `start`, and compares its status.
ends_with() {
  local status=0
  wait "$pid" || status=$?
  same "$status" "$1"
}
# types TEXT KEYS STATUS COMMAND…: runs strata on a terminal. The output is in $work/out.
types() {
  local text=$1 keys=$2 status=0 expected=$3
  shift 3
  python3 "$root/tests/image/terminal.py" "$text" "$keys" "$strata" run --engine "$engine" "$image" --network none "$@" >"$work/out" || status=$?
  [[ $status == "$expected" ]] || { cat "$work/out"; fail "status $status instead of $expected: $*"; }
}

# Clients of the engines, which fail for `ps` and `wait` while $work/failing exists.
mkdir "$work/bin"
for name in docker podman; do
  real=$(command -v "$name") || continue
  cat >"$work/bin/$name" <<SH
#!/bin/sh
if [ -e "$work/failing" ]; then
  case \$1 in ps | wait) echo "\$1" >>"$work/asked"; exit 1 ;; esac
fi
exec $real "\$@"
SH
  chmod +x "$work/bin/$name"
done
has_asked_twice() { [[ -e $work/asked ]] && (($(wc -l <"$work/asked") >= 2)); }

check_engine() {
  # Input and output of a terminal. ctrl-C reaches the program, with and without a terminal in the container.
  types 'ready' 'typed\r' 5 -it -- "$bash" -c 'test -t 0 && test -t 1 && echo ready && read -r line && echo "got $line" && exit 5'
  grep -q 'got typed' "$work/out" || { cat "$work/out"; fail "the input does not arrive"; }
  # Without a terminal in the container, both processes of podman 4.3 of a user forward ctrl-C, and the second one fails.
  terminals=(-it -i '')
  [[ $engine != podman ]] || ((EUID == 0)) || terminals=(-it)
  for terminal in "${terminals[@]}"; do
    types 'ready' '\x03' 9 $terminal -- "$bash" -c "trap 'echo interrupted; exit 9' INT; $waits"
    grep -q interrupted "$work/out" || { cat "$work/out"; fail "ctrl-C does not arrive with '$terminal'"; }
    wait_for $$ nothing_left
  done

  # The container of a killed client belongs to the engine.
  start "$image" "$bash" -c "$waits"
  kill -KILL "$(pgrep -x -P "$pid" "$engine")"
  ends_with 137
  wait_for $$ nothing_left
  wait_for $$ has_logged "strata: the client of $engine ended before its container, which was removed"

  # An engine that does not answer for some time, as a daemon that is restarted: the container keeps its store paths.
  rm -f "$work/asked"
  touch "$work/failing"
  id=$(PATH=$work/bin:$PATH "$strata" run --engine "$engine" "$image" --network none --detach -- "$bash" -c "$waits")
  wait_for $$ has_asked_twice
  is_root "${bash%/bin/bash}" || fail "the store paths of a container could be collected, since $engine did not answer"
  rm "$work/failing"
  "$engine" rm --force "$id" >/dev/null
  wait_for $$ nothing_left
  # The keeper of a container that ends does not know that the engine starts it again.
  "$strata" run --engine "$engine" "$image" --network none --rm=false --restart always 2>"$work/log" && fail "--restart is accepted"
  has_logged "--restart: the engine may start the container again" || { cat "$work/log"; fail "no message for --restart"; }

  # A store path that is deleted by force, before and while it is mounted.
  odd=$(build 'buildImage { name = "odd"; tag = "t"; config.Cmd = [ "${pkgs.writeText "deleted" "'"$engine"'"}" "${pkgs.bash}" "${pkgs.coreutils}" ]; }')
  path=$(jq -r '.layers[].paths[]?.path | select(endswith("-deleted"))' "$odd")
  # A failed test may have left the store without the path.
  [[ -e $path ]] || nix-store --repair-path "$path" 2>"$work/log"
  start "$odd" "$bash" -c "trap 'exit 6' TERM; $waits"
  rm -f "$path"
  kill -TERM "$pid"
  ends_with 6
  has_logged "strata: $path was removed from the store while the container ran; \`nix-store --realise $path\` restores it" ||
    { cat "$work/log"; fail "the deleted path is not named"; }
  "$strata" run --engine "$engine" "$odd" --network none 2>"$work/log" && fail "an image without one of its store paths runs"
  has_logged "$path" || { cat "$work/log"; fail "the deleted path is not named"; }
  nix-store --repair-path "$path" 2>"$work/log" || { cat "$work/log"; fail "the path is not restored"; }
  start "$odd" "$bash" -c "trap 'exit 6' TERM; $waits"
  kill -TERM "$pid"
  ends_with 6
  wait_for $$ nothing_left
  "$engine" images --quiet | sort -u | xargs --no-run-if-empty "$engine" rmi --force >/dev/null
}

if command -v podman >/dev/null; then
  printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/containers" "$work/run" >"$work/storage.conf"
  printf '[containers]\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n[engine]\nruntime="runc"\n' >"$work/containers.conf"
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
  engine=podman
  check_engine
fi
if [[ ${docker-} ]]; then
  engine=docker
  check_engine
  # The daemon is killed: the container is removed after the daemon runs again.
  start_docker "$work/docker"
  start "$image" "$bash" -c "$waits"
  as_root kill -KILL "$(<"$work/docker/pid")"
  wait "$docker_pid" 2>/dev/null || true
  ends_with 125
  wait_for $$ has_logged 'strata: docker does not answer; its container is removed as soon as it does'
  is_root "${bash%/bin/bash}" || fail "the store paths of a container that may still run could be collected"
  as_root rm -f "$work/docker/pid"
  start_docker "$work/docker"
  wait_for "$docker_pid" nothing_left
  docker images --quiet | sort -u | xargs --no-run-if-empty docker rmi --force >/dev/null
  stop_docker
  # Mounts of the killed daemon.
  awk -v at="$work/docker" 'index($2, at) == 1 { print $2 }' /proc/mounts | sort -r | as_root xargs --no-run-if-empty umount --lazy
fi
