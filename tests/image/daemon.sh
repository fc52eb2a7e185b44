# strata copy into docker and podman: existing layers are not sent.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
export XDG_CACHE_HOME=$work/cache
first=$(greeter loaded:t one)
second=$(greeter loaded:t two)

if [[ ${docker-} ]]; then
  "$strata" copy "$first" docker-daemon: 2>"$work/log" >/dev/null || { cat "$work/log"; fail "copy to docker"; }
  same "$(run loaded:t)" one
  grep -q '^loaded:t: 0 of ' "$work/log" || { cat "$work/log"; fail "layers are reported as existing"; }
  grep -qE 'were already present, [0-9.]+ MB sent$' "$work/log" || { cat "$work/log"; fail "not the whole image"; }
  "$strata" copy "$second" docker-daemon:renamed:u --json 2>"$work/log" >"$work/name"
  same "$(<"$work/name")" renamed:u
  same "$(run "$(<"$work/name")")" two
  same "$(docker inspect --format '{{.Id}}' renamed:u)" "$(jq -r .id "$work/log")"
  # Only the layer of the script is missing, so less than 64 KiB are streamed.
  layers=$(jq '.layers | length' "$second")
  same "$(jq .layersPresent "$work/log")" "$((layers - 1))"
  (($(jq .bytes "$work/log") < 65536)) || { cat "$work/log"; fail "too many bytes"; }
  # A user without access to the socket gets an error about permissions, and not the hint to start the daemon.
  if ((EUID == 0)); then
    mkdir -m 777 "$work/nobody"
    if HOME=$work/nobody XDG_CACHE_HOME=$work/nobody setpriv --reuid 65534 --regid 65534 --clear-groups "$strata" inspect docker-daemon:loaded:t 2>"$work/log"; then
      fail "the socket is open to everybody"
    fi
    grep -qF "the user may not use this socket: add the user to the group docker, or use sudo" "$work/log" || { cat "$work/log"; fail "no hint"; }
    if grep -qF "is the daemon running" "$work/log"; then fail "two hints"; fi
  fi
  # Repeating the copy sends only documents, and adds a name.
  "$strata" copy "$second" docker-daemon:again 2>"$work/log" >/dev/null
  grep -q "^again:latest: $layers of $layers layers were already present" "$work/log" || { cat "$work/log"; fail "layers are not there"; }
  same "$(run again:latest)" two
  program=$(build 'let image = buildImage { name = "by-program"; tag = "t"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; };
    in image.copyToDockerDaemon')
  "$program/bin/copy-to-docker-daemon" --quiet >/dev/null
  same "$(run by-program:t)" "Hello, world!"
  # Archives and layouts are loaded as well.
  "$strata" copy "$first" "oci-archive:$work/archive.tar:some:name" >/dev/null
  "$strata" copy "$work/archive.tar" docker-daemon: --quiet >/dev/null
  same "$(run some:name)" one
  # Loaded images can be read, with the same layers. A missing name is an error.
  "$strata" copy docker-daemon:some:name "oci:$work/layout:x" >/dev/null || fail "an image of docker is not read"
  same "$("$strata" inspect --json "oci:$work/layout:x" | jq -c '.[0].config.rootfs.diff_ids')" "$(jq -c '[.layers[].diff_ids]' "$first")"
  "$strata" copy docker-daemon:no:such "oci:$work/none" 2>"$work/log" && fail "there is no such image"
  grep -qF 'it has no image no:such (' "$work/log" || { cat "$work/log"; fail "the image is not named"; }
  # The same daemon through a command, and through a stand-in for ssh: one connection to the host in the address.
  socket=$DOCKER_HOST
  DOCKER_HOST=unix://$work/nothing "$strata" copy "$first" docker-daemon:via:command --via "env DOCKER_HOST=$socket docker" >/dev/null
  same "$(run via:command)" one
  mkdir "$work/bin"
  printf '#!/bin/sh\necho "$@" >>"%s"\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nDOCKER_HOST=%s exec "$@"\n' \
    "$work/ssh" "$socket" >"$work/bin/ssh"
  chmod +x "$work/bin/ssh"
  DOCKER_HOST=ssh://me@far:2222 PATH=$work/bin:$PATH "$strata" copy "$second" docker-daemon:via:ssh >/dev/null
  same "$(<"$work/ssh")" "-o ConnectTimeout=30 -T -l me -p 2222 -- far docker system dial-stdio"
  same "$(run via:ssh)" two
  docker rmi loaded:t renamed:u again by-program:t some:name via:command via:ssh >/dev/null
fi
DOCKER_HOST=unix://$work/nothing "$strata" copy "$first" docker-daemon: 2>"$work/log" && fail "there is no daemon"
grep -q "at unix://$work/nothing; is the daemon running?" "$work/log" || { cat "$work/log"; fail "the socket is not named"; }

if command -v podman >/dev/null; then
  cat >"$work/storage.conf" <<CONF
[storage]
driver = "vfs"
graphroot = "$work/containers"
runroot = "$work/run"
CONF
  printf '[containers]\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n[engine]\nruntime="runc"\n' >"$work/containers.conf"
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
  "$strata" copy "$first" containers-storage: >"$work/name" 2>"$work/log" || { cat "$work/log"; fail "copy to podman"; }
  same "$(podman run --rm --network none "$(<"$work/name")")" one
  same "$(<"$work/name")" localhost/loaded:t
  "$strata" copy "$second" containers-storage:other/name --json >/dev/null 2>"$work/log"
  # Only the layer of the script is missing.
  same "$(jq .layersPresent "$work/log")" "$(($(jq '.layers | length' "$second") - 1))"
  (($(jq .bytes "$work/log") < 65536)) || { cat "$work/log"; fail "too many bytes for podman"; }
  same "$(podman run --rm --network none other/name:latest)" two
  same "$(podman images --format '{{.Repository}}:{{.Tag}}' | sort | tr '\n' ' ')" "localhost/loaded:t localhost/other/name:latest "
  "$strata" copy containers-storage:loaded:t "oci:$work/from-podman:x" >/dev/null || fail "an image of podman is not read"
  same "$("$strata" inspect --json "oci:$work/from-podman:x" | jq -c '.[0].config.rootfs.diff_ids')" "$(jq -c '[.layers[].diff_ids]' "$first")"
  podman rmi --all --force >/dev/null
fi
