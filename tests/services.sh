# Starts services for tests, and ends them by process ID. Sourced after dev/env.sh or tests/lib.sh.
#
# start_docker DIR    a private dockerd with its socket in DIR; exports DOCKER_HOST; fails if dockerd cannot run
# start_registry DIR  a registry on loopback; sets registry
# start_far DIR       another machine: a separate store in DIR behind Debian's sshd; sets far, its URL
# start_server ARG…   strata serve with these arguments on a free port of loopback; sets server, its process, and host. Its
#                     output is in $work/references, and its log in $work/serve.log
# start_counter PORT  a relay to that port of loopback; sets counter, its process, counted, its host, and counts, its log;
#                     `received` prints the bytes that came back, and `requests` the requests: GET /v2/…

# Waits until a command succeeds, or its process has ended.
wait_for() {
  local pid=$1
  shift
  until "$@" >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.05
  done
}

# Prints a free port of loopback.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# wait_for_port PID PORT: waits until that process listens on the port.
wait_for_port() { wait_for "$1" python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", sys.argv[1]))' "$2"; }

# Outside of dev/room, dockerd gets its own namespaces: in the machine's network it would remove docker0, and with it
# the network of all other containers.
start_docker() {
  local at=$1 apart=()
  mkdir -p "$at"
  [[ ${STRATA_ROOM-} ]] || apart=(unshare --mount --net --pid --fork --kill-child --mount-proc)
  # A busy daemon lets its containerd write stacks into TMPDIR.
  as_root "${apart[@]}" env TMPDIR="$at" dockerd --host "unix://$at/docker.sock" --group "$(id -g)" --data-root "$at/data" \
    --exec-root "$at/exec" --pidfile "$at/pid" --bridge none --iptables=false --ip-masq=false >"$at/log" 2>&1 &
  docker_pid=$!
  export DOCKER_HOST=unix://$at/docker.sock
  wait_for "$docker_pid" docker version
}

# Its data stays in DIR.
stop_docker() {
  as_root kill "$docker_pid" 2>/dev/null || return 0
  wait "$docker_pid" 2>/dev/null || true
}

# start_registry DIR [CONFIG [HTTP]]: starts a registry on a free loopback port with its data in DIR, and sets
# $registry. CONFIG is added to its configuration, and HTTP to the section http. If registry_port is set, it is the
# port.
start_registry() {
  local at=$1 extra=${2-} http=${3-} port
  mkdir -p "$at"
  port=${registry_port:-$(free_port)}
  cat >"$at/config.yml" <<YAML
version: 0.1
storage: { filesystem: { rootdirectory: $at/data } }
http:
  addr: 127.0.0.1:$port
$http
$extra
YAML
  # The registry reads REGISTRY_* as its own settings.
  env -u REGISTRY_AUTH_FILE docker-registry serve "$at/config.yml" >"$at/log" 2>&1 &
  registry_pid=$!
  registry=127.0.0.1:$port
  wait_for_port "$registry_pid" "$port"
}

stop_registry() {
  kill "$registry_pid" 2>/dev/null || return 0
  wait "$registry_pid" 2>/dev/null || true
}

start_server() {
  rm -f "$work/references"
  "$strata" serve --listen 127.0.0.1:0 "$@" >"$work/references" 2>"$work/serve.log" &
  server=$!
  wait_for "$server" test -s "$work/references" || { cat "$work/serve.log"; fail "serve ends"; }
  host=$(head -n 1 "$work/references" | cut -d / -f 1)
}

start_counter() {
  counts=$(mktemp "$work/counter.XXXXXX")
  python3 "$root/tests/peers/counter.py" "$1" "$counts.port" "$counts" &
  counter=$!
  wait_for "$counter" test -s "$counts.port"
  counted=127.0.0.1:$(<"$counts.port")
}
# A connection is counted after its end.
received() {
  until awk '$1 == "open" { open++ } $1 == "closed" { open--; sum += $3 } END { if (open) exit 1; printf "%.0f\n", sum }' "$counts"; do
    sleep 0.05
  done
}
# A registry writes its own log after the answer, which its client may not wait for.
requests() { sed -n 's/^request //p' "$counts"; }

# `localhost` would bypass sshd. Processes of sshd get this environment. The port is free in dev/room and outside of it.
start_far() {
  local at=$1 port me
  # Debian's PATH of users lacks this directory.
  PATH=$PATH:/usr/sbin
  me=$(id -un)
  port=$(free_port)
  mkdir -p "$at.ssh" "$at"
  as_root mkdir -p /run/sshd
  ssh-keygen -q -t ed25519 -N '' -f "$at.ssh/host"
  ssh-keygen -q -t ed25519 -N '' -f "$at.ssh/key"
  {
    echo '#!/bin/bash'
    declare -px PATH NIX_CONFIG
    echo "exec nix-daemon --store 'local?root=$at' \"\$@\""
  } >"$at.ssh/nix-daemon"
  chmod +x "$at.ssh/nix-daemon"
  cat >"$at.ssh/config" <<CONFIG
Port $port
ListenAddress 127.0.0.1
HostKey $at.ssh/host
AuthorizedKeysFile $at.ssh/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
CONFIG
  "$(command -v sshd)" -D -e -f "$at.ssh/config" 2>"$at.ssh/log" &
  far_pid=$!
  export NIX_SSHOPTS="-p $port -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
  far="ssh-ng://$me@127.0.0.1?ssh-key=$at.ssh/key&remote-program=$at.ssh/nix-daemon"
  # shellcheck disable=SC2086
  wait_for "$far_pid" ssh $NIX_SSHOPTS -i "$at.ssh/key" "$me@127.0.0.1" true || { cat "$at.ssh/log" >&2; return 1; }
}
