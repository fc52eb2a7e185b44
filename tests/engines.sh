# Sourced by tests and benchmarks that run images: real container engines, each in its own network, mount and process
# namespaces, with sockets in the given directory. The containers of an engine end with it.
#
# dev/test exports engines: the directory of dev/engines, or an empty value if they could not be built.
#
# start_docker29 DIR              dockerd with containerd's image store; sets DOCKER_HOST
# start_docker20 DIR              Debian's dockerd, with layers in its own store; sets DOCKER_HOST
# start_rootless_docker DIR       Debian's dockerd as the user and group 2000, whose directories are DIR/home and DIR/run
# start_containerd DIR [CONFIG]   containerd, its CRI plug-in on; sets CONTAINERD_ADDRESS. CONFIG is more of its config.toml
# use_containerd VERSION          another containerd for start_containerd; fails if it cannot be built
# use_mkfs_of_debian13 DIR        writes a program mkfs.erofs to DIR, since that of Debian 12 is too old for containerd's erofs differ
# run_with_ctr ARGUMENT…          `ctr run --rm ARGUMENT…`, with all output of the container on stdout
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

# Docker reads the subordinate users of a named user from files in /etc, which only the daemon sees.
start_rootless_docker() {
  local at=$1
  mkdir -p "$at/etc"
  { cat /etc/passwd; echo "rootless:x:2000:2000::$at/home:/bin/sh"; } >"$at/etc/passwd"
  { cat /etc/group; echo 'rootless:x:2000:'; } >"$at/etc/group"
  echo 'rootless:100000:65536' | tee "$at/etc/subuid" >"$at/etc/subgid"
  export DOCKER_HOST=unix://$at/run/docker.sock
  start_engine "$at" docker version -- sh -euc '
    mount -t overlay -o "lowerdir=$0/etc:/etc" overlay /etc
    # The links to directories of another daemon are removed, as dockerd-rootless.sh does.
    exec setpriv --reuid 2000 --regid 2000 --clear-groups env HOME="$0/home" XDG_RUNTIME_DIR="$0/run" \
      rootlesskit --state-dir "$0/run/kit" --copy-up /etc --copy-up /run \
      sh -c "rm -f /run/docker /run/containerd /run/xtables.lock; exec \"\$@\"" sh dockerd --rootless --host "$DOCKER_HOST" \
      --data-root "$0/home/docker" --exec-root "$0/run/docker" --pidfile "$0/run/docker.pid" --storage-driver vfs \
      --bridge none --iptables=false --ip6tables=false --ip-forward=false' "$at"
}

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

# It is built once a machine, and only these functions use it: the PATH of the other engines does not change.
use_containerd() {
  local program at=$work/containerd-$1
  mkdir -p "$at"
  for program in containerd ctr containerd-shim-runc-v2; do
    (from_go "github.com/containerd/containerd/v2/cmd/$program@$1" "$program") || return 1
    ln -sf "$go_programs/$program@$1/$program" "$at"
  done
  ln -sf "$engines/runc" "$at"
  engines=$at
}

use_mkfs_of_debian13() {
  local tree libraries
  tree=$(online "$root/dev/debian13" 2>"$work/log") || { tail -n 3 "$work/log"; skip_part "mmdebstrap cannot make a Debian 13 here"; return 1; }
  libraries=$(echo "$tree"/usr/lib/*-linux-gnu)
  mkdir -p "$1"
  printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' "$libraries"/ld-linux-* "$libraries" "$tree/usr/bin/mkfs.erofs" >"$1/mkfs.erofs"
  chmod +x "$1/mkfs.erofs"
}

# ctr may close its pipes before it has read the output of a short container (containerd, client/task.go, `Delete`), and the file is
# written by the shim.
run_with_ctr() {
  local output status=0
  output=$(mktemp "$work/output.XXXXXX")
  "$engines/ctr" run --rm --log-uri "file://$output" "$@" || status=$?
  cat "$output"
  rm "$output"
  return "$status"
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
