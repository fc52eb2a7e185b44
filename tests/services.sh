# Starts what tests talk to, and ends it by its process id. Sourced where dev/env.sh or tests/lib.sh is.
#
# start_docker DIR    a private dockerd on a socket in DIR; exports DOCKER_HOST; fails where none can run
# start_registry DIR  a registry on loopback; sets registry

# Waits until a command succeeds, or its process is gone.
wait_for() {
  local pid=$1
  shift
  until "$@" >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.05
  done
}

# Outside of dev/room it gets namespaces of its own: a dockerd in the machine's network removes docker0, and with it the
# network of everybody's containers.
start_docker() {
  local at=$1 apart=()
  mkdir -p "$at"
  [[ ${STRATA_ROOM-} ]] || apart=(unshare --mount --net --pid --fork --kill-child --mount-proc)
  as_root "${apart[@]}" dockerd --host "unix://$at/docker.sock" --group "$(id -g)" --data-root "$at/data" \
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

# start_registry DIR [CONFIG [HTTP]]    a registry on a free loopback port, its data in DIR; sets $registry. CONFIG is
# more of its configuration, HTTP more of the section http; registry_port the port instead.
start_registry() {
  local at=$1 extra=${2-} http=${3-} port
  mkdir -p "$at"
  port=${registry_port:-$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
  cat >"$at/config.yml" <<YAML
version: 0.1
storage: { filesystem: { rootdirectory: $at/data } }
http:
  addr: 127.0.0.1:$port
$http
$extra
YAML
  # It takes REGISTRY_* for its own settings.
  env -u REGISTRY_AUTH_FILE docker-registry serve "$at/config.yml" >"$at/log" 2>&1 &
  registry_pid=$!
  registry=127.0.0.1:$port
  wait_for "$registry_pid" python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))"
}

stop_registry() {
  kill "$registry_pid" 2>/dev/null || return 0
  wait "$registry_pid" 2>/dev/null || true
}
