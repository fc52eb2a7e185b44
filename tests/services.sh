# Sourced by dev/test: starts what tests talk to, and ends it by its process id.
#
# start_docker DIR    a private dockerd on a socket in DIR; exports DOCKER_HOST; fails where none can run

# Waits until a command succeeds, or its process is gone.
wait_for() {
  local pid=$1
  shift
  until "$@" >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.05
  done
}

start_docker() {
  local at=$1
  mkdir -p "$at"
  dockerd --host "unix://$at/docker.sock" --data-root "$at/data" --exec-root "$at/exec" --pidfile "$at/pid" \
    --bridge none --iptables=false --ip-masq=false >"$at/log" 2>&1 &
  docker_pid=$!
  export DOCKER_HOST=unix://$at/docker.sock
  wait_for "$docker_pid" docker version
}

stop_docker() {
  local at=$1
  kill "$docker_pid" 2>/dev/null || return 0
  wait "$docker_pid" 2>/dev/null || true
  # overlay mounts are gone with the daemon; what is left is plain files.
  rm -rf "$at"
}
