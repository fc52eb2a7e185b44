# The machine that runs the tests stays unchanged: its docker0, containers, images, credentials, caches and store. In
# this test the machine is another room, with a dockerd that has the bridge docker0 and a running container.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
export XDG_CACHE_HOME=$HOME/.cache STRATA_STORE=$work/store
mkdir -p "$HOME/.docker" "$HOME/.cache/strata"
echo '{ "auths": { "registry.example.com": { "auth": "dXNlcjpzZWNyZXQ=" } } }' >"$HOME/.docker/config.json"
echo known >"$HOME/.cache/strata/file"
as_root ip link add docker0 type bridge
as_root ip address add 172.17.0.1/16 dev docker0
as_root ip link set docker0 up
# The IPv6 address is tentative for a moment.
until ! ip -oneline address show docker0 | grep -q tentative; do sleep 0.1; done
image=$(greeter other:t hello)
"$strata" stream "$image" >"$work/image.tar"
docker load --quiet <"$work/image.tar" >/dev/null
container=$(docker run --detach --network none other:t "$(build pkgs.coreutils)/bin/sleep" infinity)

state() {
  ip -oneline address
  docker ps --no-trunc --format '{{.ID}} {{.Names}} {{.Image}}'
  docker images --no-trunc | sort
  docker inspect --format '{{.State.Status}} {{.State.Pid}} {{.State.StartedAt}}' "$container"
  as_root find "$HOME" /run /var/lib/containers -not -path "$work*" -printf '%p %s %m %T@ %l\n' | sort
  as_root find "$HOME" -type f -exec sha256sum {} + | sort
  find /nix/store -maxdepth 1 | sort
  ls -l --time-style=full-iso /nix/var/nix/db/db.sqlite
}
state >"$work/before"
"$root/dev/room" bash -euc '
  . "$root/tests/lib.sh"
  . "$root/tests/services.sh"
  [[ ! -e $HOME/.docker && $(ip -oneline link | wc -l) == 1 ]]
  work=$room/work
  mkdir "$work"
  start_docker "$work/docker"
  [[ -z $(docker images --quiet) ]]
  docker load --quiet <"$1"
  [[ $(docker run --rm --network none other:t) == hello ]]
  start_registry "$work/registry"
  "$strata" copy "$1" "docker://$registry/pushed:t"
  skopeo copy --quiet --src-tls-verify=false "docker://$registry/pushed:t" "dir:$HOME/pulled"
  podman --storage-driver vfs load --quiet <"$1"
  nix-store --add "$root/README.md"' bash "$work/image.tar" >"$work/log" 2>&1 || { cat "$work/log"; fail "the room"; }
state >"$work/after"
diff "$work/before" "$work/after" || fail "something else is there now"
docker rm --force "$container" >/dev/null
docker rmi other:t >/dev/null

# A room that is terminated ends its processes: the pipe ends with its last writer.
mkfifo "$work/output"
"$root/dev/room" bash -c 'echo started; sleep infinity & exec sleep infinity' >"$work/output" 2>"$work/log" &
terminated=$!
exec {output}<"$work/output"
read -r word <&"$output" || { cat "$work/log"; fail "the room does not start"; }
kill "$terminated"
rest=$(timeout --foreground 60 cat <&"$output") || fail "a terminated room has processes"
same "$word$rest" started
