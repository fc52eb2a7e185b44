# strata run with podman and docker of a user other than root: store paths of root are mounted, and belong to nobody in the
# container, which strata reports. With --load, the files have the owners of the image. Nothing of a run remains.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
((EUID == 0)) || skip "root makes the users of this script; run.sh runs podman as this one"
need_command jq
need_command podman
top=$(mktemp -d -t strata-rootless.XXXXXX)
trap 'stop_engines; as_root rm -rf "$top"' EXIT
mkdir -p "$top"/{home,run}
cp "$strata" "$top/strata"
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n[storage.options.vfs]\nignore_chown_errors = "true"\n' \
  "$top/home/containers" "$top/run/containers" >"$top/storage.conf"
# Without systemd there is neither a journal nor a cgroup manager.
cat >"$top/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
chmod 755 "$top"
# For podman, a user without an entry in passwd and without subordinate users.
chown -R 2000:2000 "$top/home" "$top/run"
identity=(setpriv --reuid 2000 --regid 2000 --clear-groups)
chmod 700 "$top/run"
# as_user COMMAND…: runs the command in the user's directory.
as_user() {
  (cd "$top" && exec "${identity[@]}" env DOCKER_HOST="unix://$top/run/docker.sock" HOME="$top/home" XDG_RUNTIME_DIR="$top/run" XDG_CACHE_HOME="$top/home/cache" \
    TMPDIR="$top/home" CONTAINERS_STORAGE_CONF="$top/storage.conf" CONTAINERS_CONF="$top/containers.conf" "$@")
}
run() { as_user "$top/strata" run --engine "$engine" "$image" --network none "$@"; }
containers() { as_user "$engine" ps --all --quiet; }
nothing_left() {
  local left
  left=$(containers) && [[ ! $left ]]
}
has_logged() { grep -qF -- "$1" "$work/log"; }
owned='mounted files belong to nobody in the container; --load has the owners of the image'

image=$(build 'buildImage { name = "rootless"; tag = "t"; config.Cmd = [ "${pkgs.busybox}/bin/busybox" "echo" "one" ]; }')
busybox=$(build pkgs.busybox)/bin/busybox
mkdir "$work/tiny"
cp "$busybox" "$work/tiny/busybox"
tar -C "$work/tiny" -cf "$top/tiny.tar" busybox

# starts_containers: whether the engine itself starts a container for this user.
starts_containers() {
  as_user "$engine" import "$top/tiny.tar" tiny:t >"$work/log" 2>&1 &&
    as_user "$engine" run --rm --network none tiny:t /busybox true >"$work/log" 2>&1 &&
    as_user "$engine" rmi tiny:t >/dev/null
}

verify_owners() {
  local name size
  same "$(run 2>"$work/log")" one
  has_logged "$owned" || { cat "$work/log"; fail "$engine: the owners are not reported"; }
  # Only the mount points were loaded.
  name=$(as_user "$engine" images --format '{{.Repository}}:{{.Tag}}')
  [[ ${name#localhost/} == strata-run/rootless:* ]] || fail "$engine: images: $name"
  size=$(as_user "$engine" image inspect --format '{{.Size}}' "$name")
  ((size < 100000)) || fail "$engine: $size bytes were loaded"
  same "$(run -- "$busybox" stat -c '%u %a' "$busybox" 2>/dev/null)" '65534 555'
  run -- "$busybox" rm "$busybox" >/dev/null 2>&1 && fail "$engine: a container removes a file of the store"
  same "$(run --load -- "$busybox" stat -c '%u %a' "$busybox" 2>"$work/log")" '0 555'
  ! has_logged "$owned" || fail "$engine: --load mounts nothing"
}

waits='trap "exit 42" TERM; echo ready; while :; do '$busybox' sleep 0.05; done'
start_waiting() {
  rm -f "$work/out"
  # The subshell of as_user becomes strata.
  run -- "$busybox" sh -c "$waits" >"$work/out" 2>"$work/log" &
  pid=$!
  wait_for "$pid" grep -q ready "$work/out" || { cat "$work/log"; fail "$engine: the container does not start"; }
}
# Exit status, signals and input. A killed strata leaves no container.
verify_ends() {
  local status=0
  run -- "$busybox" sh -c 'exit 7' 2>/dev/null || status=$?
  same "$status" 7
  same "$(echo input | run -i -- "$busybox" sh -c 'read -r line; echo "$line"' 2>/dev/null)" input
  start_waiting
  kill -TERM "$(pgrep -x strata -P "$pid" || echo "$pid")"
  status=0
  wait "$pid" || status=$?
  same "$status" 42
  wait_for $$ nothing_left
  start_waiting
  kill -KILL "$(pgrep -x strata -P "$pid" || echo "$pid")"
  wait "$pid" || true
  wait_for $$ nothing_left
}

engine=podman
starts_containers || skip "podman starts no container for a user that is not root: $(tail -n 1 "$work/log")"
verify_owners
verify_ends

need_command rootlesskit
engine=docker
start_rootless_docker "$top"
starts_containers || { cat "$work/log" "$engine_log"; fail "docker starts no container for a user that is not root"; }
verify_owners
verify_ends
