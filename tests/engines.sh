# Sourced by tests and benchmarks that run images: real container engines, each in network, mount and process namespaces
# of its own, on sockets in the folder it is given. Ending one ends its containers.
#
# dev/test exports engines: the folder of dev/engines, empty where they could not be built.
#
# start_docker29 DIR              dockerd with containerd's image store; sets DOCKER_HOST
# start_docker20 DIR              Debian's dockerd, with layers in its own store; sets DOCKER_HOST
# start_containerd DIR [CONFIG]   containerd, its CRI plug-in on; sets CONTAINERD_ADDRESS. CONFIG is more of its config.toml
# use_podman DIR                  podman with a storage in DIR; it has no daemon
# stop_engine                     the one started last; stop_engines: all of them
#
# engine_pid is the process to kill, engine_log what it says.
. "$root/tests/services.sh"

engine_pids=()

# need_engines: skips where dev/engines could not build them.
need_engines() {
  ((EUID == 0)) || skip "Docker 29 and containerd 2 need root"
  [[ ${engines-} ]] || skip "Docker 29 and containerd 2 could not be built from their Go modules (dev/engines says why)"
}

# start_engine DIR READY… -- COMMAND…: runs COMMAND, and waits until READY succeeds.
start_engine() {
  local at=$1 ready=()
  shift
  while [[ $1 != -- ]]; do ready+=("$1"); shift; done
  shift
  engine_log=$at/log
  unshare --mount --net --pid --fork --kill-child --mount-proc \
    sh -c 'ip link set lo up && exec "$@"' sh "$@" >>"$engine_log" 2>&1 &
  engine_pid=$!
  engine_pids+=("$engine_pid")
  wait_for "$engine_pid" "${ready[@]}" || { tail -n 20 "$engine_log"; return 1; }
}

stop_engine() {
  # unshare ignores SIGTERM; the kernel ends what is in its namespaces.
  kill -KILL "$engine_pid" 2>/dev/null || return 0
  wait "$engine_pid" 2>/dev/null || true
}
stop_engines() {
  for engine_pid in "${engine_pids[@]}"; do stop_engine; done
  engine_pids=()
}

start_dockerd() {
  local at=$1
  shift
  mkdir -p "$at"
  export DOCKER_HOST=unix://$at/docker.sock
  # Of one that was killed; the numbers mean other processes now.
  rm -f "$at/pid" "$at/exec/containerd/containerd.pid"
  # Debian's command line speaks an older API than Docker 29 likes.
  TMPDIR=$at DOCKER_MIN_API_VERSION=1.24 start_engine "$at" docker version -- dockerd --host "$DOCKER_HOST" --data-root "$at/data" \
    --exec-root "$at/exec" --pidfile "$at/pid" --bridge none --iptables=false --ip6tables=false --ip-masq=false "$@"
}
# dev/engines' runc has no seccomp.
start_docker29() { PATH=$engines:$PATH start_dockerd "$1" --seccomp-profile unconfined; }
start_docker20() { PATH=${PATH//"${engines:-/none}:"/} start_dockerd "$1"; }

start_containerd() {
  local at=$1
  mkdir -p "$at"
  export CONTAINERD_ADDRESS=$at/containerd.sock
  cat >"$at/config.toml" <<TOML
version = 3
root = "$at/root"
state = "$at/state"
[grpc]
address = "$CONTAINERD_ADDRESS"
[ttrpc]
address = "$CONTAINERD_ADDRESS.ttrpc"
${2-}
TOML
  PATH=$engines:$PATH start_engine "$at" "$engines/ctr" version -- containerd --config "$at/config.toml"
}

use_podman() {
  local at=$1
  mkdir -p "$at"
  cat >"$at/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$at/containers"
runroot = "$at/run"
CONF
  printf '[containers]\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n[engine]\nruntime="runc"\n' >"$at/containers.conf"
  export CONTAINERS_STORAGE_CONF=$at/storage.conf CONTAINERS_CONF=$at/containers.conf
}
