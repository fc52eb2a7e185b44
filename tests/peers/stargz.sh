# copy --lazy and serve --lazy: containerd with stargz-snapshotter starts a container before the layers are pulled, and every layer
# is a remote snapshot. STRATA_STARGZ names a directory with containerd-stargz-grpc and ctr-remote.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_command docker-registry
need_command jq
need_command curl
need_command podman
[[ ${STRATA_STARGZ-} ]] || skip "STRATA_STARGZ names no directory with the programs of stargz-snapshotter"
[[ -e /dev/fuse ]] || skip "the kernel has no FUSE"
need_engines
export XDG_CACHE_HOME=$work/cache
serving=
finish() {
  stop_engines
  kill ${counter-} ${serving:-} 2>/dev/null || true
  stop_registry
}
trap finish EXIT
start_registry "$work/registry"
start_counter "${registry##*:}"

# stargz_image names another image with the program `hello` for measurements.
image=${stargz_image-}
[[ $image ]] || image=$(build 'buildImage {
  name = "app"; tag = "t"; maxLayers = 12; config.Cmd = [ "${pkgs.hello}/bin/hello" ];
  layers = [ (buildLayer { deps = [ pkgs.python3 pkgs.nodejs ]; }) ];
}')
"$strata" copy --quiet "$image" "docker://$registry/app:gzip" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "it is not pushed"; }
"$strata" copy --quiet "$image" "docker://$registry/app:chunked" --compression zstd:chunked >/dev/null
"$strata" copy --quiet "$image" "docker://$registry/app:lazy" --lazy >/dev/null

# The blobs are those for partial pulls, and the annotations are others.
manifest() { curl --silent --fail --header 'Accept: application/vnd.oci.image.manifest.v1+json' "http://${2-$registry}/v2/app/manifests/$1"; }
manifest lazy >"$work/lazy"
same "$(jq -c '[.layers[] | del(.annotations)]' "$work/lazy")" "$(manifest chunked | jq -c '[.layers[] | del(.annotations)]')"
layers=$(jq '.layers | length' "$work/lazy")
same "$(jq -c '[.layers[].annotations | keys] | unique' "$work/lazy")" \
  '[["containerd.io/snapshot/stargz/toc.digest","io.containers.zstd-chunked.manifest-checksum","io.containers.zstd-chunked.manifest-position"]]'
lacks stargz <(manifest chunked)
"$strata" verify "docker://$registry/app:lazy" --tls-verify=false >"$work/verified" || { cat "$work/verified"; fail "verify finds problems"; }

# node HOST: starts containerd and stargz-snapshotter without anything of earlier nodes. They pull from HOST. Nothing is prefetched.
nodes=0
node() {
  at=$work/node$((++nodes))
  mkdir -p "$at/stargz"
  cat >"$at/stargz.toml" <<TOML
noprefetch = true
no_background_fetch = true
[[resolver.host."$1".mirrors]]
host = "$1"
insecure = true
TOML
  engine_network=shared start_containerd "$at/containerd" "[proxy_plugins.stargz]
type = \"snapshot\"
address = \"$at/stargz.sock\"
[proxy_plugins.stargz.exports]
root = \"$at/stargz/\"
enable_remote_snapshot_annotations = \"true\"" || fail "containerd does not start"
  # Its mounts are those of containerd, and it ends with it.
  nsenter --target "$(pgrep -P "$engine_pid")" --mount --pid "$STRATA_STARGZ/containerd-stargz-grpc" --log-level debug \
    --address "$at/stargz.sock" --root "$at/stargz" --config "$at/stargz.toml" >"$at/stargz.log" 2>&1 &
  # The shell does not report that it was killed.
  disown $!
  wait_for $! test -S "$at/stargz.sock" || { cat "$at/stargz.log"; fail "stargz-snapshotter does not start"; }
}
pull() { "$STRATA_STARGZ/ctr-remote" images rpull --plain-http --snapshotter stargz "$1" >"$work/log" 2>&1; }
runs() { run_with_ctr --snapshotter "${2-stargz}" "$1" "run$RANDOM"; }
prepared() { grep -c '"remote-snapshot-prepared":"true"' "$at/stargz.log" || true; }
forget() {
  kill "$counter"
  start_counter "${registry##*:}"
}
seconds() { awk "BEGIN { printf \"%.2f\", ($2 - $1) / 1e9 }"; }

# measured NAME: pulls app:NAME on two nodes, and prints the bytes and the times of the pull and of the first output. A connection
# is counted after its end.
measured() {
  local name=$1 begun pulled ended first second
  forget
  node "$counted"
  fetch "$name" || { cat "$work/log"; fail "$name is not pulled"; }
  [[ $name == gzip ]] || same "$(prepared)" "$layers"
  stop_engine
  first=$(received)
  forget
  node "$counted"
  begun=$(date +%s%N)
  fetch "$name" || { cat "$work/log"; fail "$name is not pulled"; }
  pulled=$(date +%s%N)
  same "$(runs "$counted/app:$name" "$snapshotter")" "Hello, world!"
  ended=$(date +%s%N)
  stop_engine
  second=$(received)
  bytes=$second
  echo "$name: pull $first bytes, $(seconds "$begun" "$pulled") s; first output $((second - first)) bytes, $(seconds "$pulled" "$ended") s"
}
fetch() {
  snapshotter=stargz
  if [[ $1 != gzip ]]; then pull "$counted/app:$1"; return; fi
  snapshotter=overlayfs
  "$engines/ctr" images pull --plain-http "$counted/app:gzip" >"$work/log" 2>&1
}
measured gzip
whole=$bytes
measured lazy
((bytes * 10 < whole)) || fail "$bytes of $whole bytes are fetched"
# The first manifest of an index with one for partial pulls.
"$strata" copy --quiet "$image" "docker://$registry/app:index" --lazy --also zstd:chunked >/dev/null
measured index
((bytes * 10 < whole)) || fail "$bytes of $whole bytes are fetched"

# serve --lazy has the same manifest, and makes only what is fetched.
"$strata" serve --lazy --listen 127.0.0.1:0 "app:lazy=$image" >"$work/references" 2>"$work/serve.log" &
serving=$!
wait_for "$serving" test -s "$work/references" || { cat "$work/serve.log"; fail "serve ends"; }
host=$(head -n 1 "$work/references" | cut -d / -f 1)
same "$(manifest lazy "$host" | jq -c .layers)" "$(jq -c .layers "$work/lazy")"
node "$host"
pull "$host/app:lazy" || { cat "$work/log"; fail "it is not pulled from serve --lazy"; }
same "$(prepared)" "$layers"
same "$(runs "$host/app:lazy")" "Hello, world!"
stop_engine

# podman pulls the image too.
use_podman "$work/podman"
printf '[storage.options]\npull_options = {enable_partial_images = "true", use_hard_links = "false", ostree_repos=""}\n' >>"$CONTAINERS_STORAGE_CONF"
same "$(unshare --mount --propagation private podman run --quiet --rm --network host --tls-verify=false "$registry/app:lazy" 2>"$work/log")" "Hello, world!" ||
  cat "$work/log"

# The registry is gone after the pull: the container does not start, and starts when the registry is back.
node "$registry"
pull "$registry/app:lazy" || { cat "$work/log"; fail "it is not pulled"; }
stop_registry
if runs "$registry/app:lazy" >"$work/out" 2>&1; then fail "it runs without its files"; fi
lacks "Hello, world!" "$work/out"
sed 's/^/without a registry: /' "$work/out"
registry_port=${registry##*:} start_registry "$work/registry"
until runs "$registry/app:lazy" >"$work/out" 2>"$work/log"; do
  ((SECONDS < 600)) || { cat "$work/log"; fail "it does not run after the registry is back"; }
  sleep 1
done
same "$(<"$work/out")" "Hello, world!"
stop_engine

# A layer with the digest of another table of contents is pulled whole.
jq '.layers[0].annotations["containerd.io/snapshot/stargz/toc.digest"] = "sha256:" + "0" * 64' "$work/lazy" >"$work/wrong"
curl --silent --fail --request PUT --header 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary "@$work/wrong" \
  "http://$registry/v2/app/manifests/wrong" >/dev/null
node "$registry"
pull "$registry/app:wrong" || { cat "$work/log"; fail "it is not pulled"; }
same "$(prepared)" "$((layers - 1))"
same "$(runs "$registry/app:wrong")" "Hello, world!"
stop_engine
"$strata" verify "docker://$registry/app:wrong" --tls-verify=false >"$work/verified" 2>&1 && fail "verify accepts another digest of a table"
grep -q "its digest before compression is not" "$work/verified" || { cat "$work/verified"; fail "verify does not name the digest"; }

# data DIGEST: its file in the registry.
data() { echo "$work/registry/data/docker/registry/v2/blobs/sha256/${1:7:2}/${1#sha256:}/data"; }
# position LAYER: where its table of contents begins.
position() { jq -r --argjson layer "$1" '.layers[$layer].annotations["io.containers.zstd-chunked.manifest-position"] | split(":")[0]' "$work/lazy"; }
mapfile -t digests < <(jq -r '.layers[].digest' "$work/lazy")

# Chunks that are damaged after the pull: their digests are compared, so the program does not start with other bytes.
node "$registry"
pull "$registry/app:lazy" || { cat "$work/log"; fail "it is not pulled"; }
for layer in "${!digests[@]}"; do
  cp "$(data "${digests[layer]}")" "$work/intact-$layer"
  python3 - "$(data "${digests[layer]}")" "$(position "$layer")" <<'PYTHON'
import sys

with open(sys.argv[1], "r+b") as file:
    frames = file.read(int(sys.argv[2]))
    file.seek(0)
    file.write(bytes(byte ^ (at % 64 == 63) for at, byte in enumerate(frames)))
PYTHON
done
if runs "$registry/app:lazy" >"$work/out" 2>&1; then fail "it runs with damaged files"; fi
lacks "Hello, world!" "$work/out"
sed 's/^/damaged chunks: /' "$work/out"
for layer in "${!digests[@]}"; do cp "$work/intact-$layer" "$(data "${digests[layer]}")"; done
stop_engine

# A damaged table of contents: nothing of the layer is used.
printf '\377\377\377\377' | dd of="$(data "${digests[0]}")" bs=1 seek="$(($(position 0) + 20))" conv=notrunc status=none
node "$registry"
if pull "$registry/app:lazy"; then fail "a damaged table of contents is accepted"; fi
((layers > $(prepared))) || fail "a damaged layer is mounted"
