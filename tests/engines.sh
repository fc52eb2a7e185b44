# Sourced by tests and benchmarks that run images: real container engines, each in its own network, mount and process
# namespaces, with sockets in the given directory. The containers of an engine end with it.
#
# dev/test exports engines: the directory of dev/engines, or an empty value if they could not be built.
#
# start_docker29 DIR              dockerd with containerd's image store; sets DOCKER_HOST
# start_docker20 DIR              Debian's dockerd, with layers in its own store; sets DOCKER_HOST
# start_containerd DIR [CONFIG]   containerd, its CRI plug-in on; sets CONTAINERD_ADDRESS. CONFIG is more of its config.toml
# use_podman DIR                  podman with a storage in DIR; it has no daemon
# stop_engine                     the engine that was started last; stop_engines: all engines
#
# engine_pid is the process to kill, engine_log its log.
. "$root/tests/services.sh"

engine_pids=()

# need_engines: skips the script if dev/engines could not build the engines.
need_engines() {
  ((EUID == 0)) || skip "Docker 29 and containerd 2 need root"
  [[ ${engines-} ]] || skip "Docker 29 and containerd 2 could not be built from their Go modules (dev/engines says why)"
}

# start_engine DIR READY… -- COMMAND…: runs COMMAND, and waits until READY succeeds. With engine_network=shared, it has the network
# of the script, and with engine_store=DIR, DIR is its /nix.
start_engine() {
  local at=$1 ready=() net=(--net)
  [[ ${engine_network-} != shared ]] || net=()
  shift
  while [[ $1 != -- ]]; do ready+=("$1"); shift; done
  shift
  engine_log=$at/log
  unshare --mount "${net[@]}" --pid --fork --kill-child --mount-proc \
    sh -c 'ip link set lo up && { [ -z "$0" ] || mount --bind "$0" /nix; } && exec "$@"' "${engine_store-}" "$@" >>"$engine_log" 2>&1 &
  engine_pid=$!
  engine_pids+=("$engine_pid")
  wait_for "$engine_pid" "${ready[@]}" || { tail -n 20 "$engine_log"; return 1; }
}

stop_engine() {
  # unshare ignores SIGTERM; the kernel ends the processes in its namespaces.
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
  # These files belong to a killed daemon, and their process IDs may be reused.
  rm -f "$at/pid" "$at/exec/containerd/containerd.pid"
  # The API of Debian's client is older than the minimum of Docker 29.
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
