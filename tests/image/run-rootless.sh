# strata run with podman of a user other than root: store paths of root are mounted, and belong to nobody in the
# container, which strata reports. With --load, the files have the owners of the image. Nothing of a run remains.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
need_command podman
top=$(mktemp -d -t strata-rootless.XXXXXX)
trap 'as_root rm -rf "$top"' EXIT
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
identity=()
if ((EUID == 0)); then
  # A user without an entry in passwd and without subordinate users.
  chown -R 2000:2000 "$top/home" "$top/run"
  identity=(setpriv --reuid 2000 --regid 2000 --clear-groups)
fi
chmod 700 "$top/run"
# as_user COMMAND…: runs the command in the user's directory.
as_user() {
  (cd "$top" && exec "${identity[@]}" env -u DOCKER_HOST HOME="$top/home" XDG_RUNTIME_DIR="$top/run" XDG_CACHE_HOME="$top/home/cache" \
    TMPDIR="$top/home" CONTAINERS_STORAGE_CONF="$top/storage.conf" CONTAINERS_CONF="$top/containers.conf" "$@")
}
run() { as_user "$top/strata" run --engine podman "$image" --network none "$@"; }
containers() { as_user podman ps --all --quiet; }
nothing_left() {
  local left
  left=$(containers) && [[ ! $left ]]
}
has_logged() { grep -qF -- "$1" "$work/log"; }
owned='mounted files belong to nobody in the container; --load has the owners of the image'

image=$(build 'buildImage { name = "rootless"; tag = "t"; config.Cmd = [ "${pkgs.busybox}/bin/busybox" "echo" "one" ]; }')
busybox=$(build pkgs.busybox)/bin/busybox
# Whether podman itself can start a container for this user.
mkdir "$work/tiny"
cp "$busybox" "$work/tiny/busybox"
tar -C "$work/tiny" -cf "$top/tiny.tar" busybox
if ! as_user podman import --quiet "$top/tiny.tar" tiny:t >"$work/log" 2>&1 ||
  ! as_user podman run --rm --network none tiny:t /busybox true >"$work/log" 2>&1; then
  skip "podman starts no container for a user that is not root: $(tail -n 1 "$work/log")"
fi
as_user podman rmi tiny:t >/dev/null

same "$(run 2>"$work/log")" one
has_logged "$owned" || { cat "$work/log"; fail "the owners are not reported"; }
# Only the mount points were loaded.
name=$(as_user podman images --format '{{.Repository}}:{{.Tag}}')
[[ $name == localhost/strata-run/rootless:* ]] || fail "images: $name"
size=$(as_user podman image inspect --format '{{.Size}}' "$name")
((size < 100000)) || fail "$size bytes were loaded"
same "$(run -- "$busybox" stat -c '%u %a' "$busybox" 2>/dev/null)" '65534 555'
run -- "$busybox" rm "$busybox" >/dev/null 2>&1 && fail "a container removes a file of the store"
same "$(run --load -- "$busybox" stat -c '%u %a' "$busybox" 2>"$work/log")" '0 555'
! has_logged "$owned" || fail "--load mounts nothing"

# Exit status, signals and input. A killed strata leaves no container.
status=0
run -- "$busybox" sh -c 'exit 7' 2>/dev/null || status=$?
same "$status" 7
same "$(echo input | run -i -- "$busybox" sh -c 'read -r line; echo "$line"' 2>/dev/null)" input
waits='trap "exit 42" TERM; echo ready; while :; do '$busybox' sleep 0.05; done'
started() {
  rm -f "$work/out"
  # The subshell of as_user becomes strata.
  run -- "$busybox" sh -c "$waits" >"$work/out" 2>"$work/log" &
  pid=$!
  wait_for "$pid" grep -q ready "$work/out" || { cat "$work/log"; fail "the container does not start"; }
}
started
kill -TERM "$(pgrep -x strata -P "$pid" || echo "$pid")"
status=0
wait "$pid" || status=$?
same "$status" 42
wait_for $$ nothing_left
started
kill -KILL "$(pgrep -x strata -P "$pid" || echo "$pid")"
wait "$pid" || true
wait_for $$ nothing_left
