# strata serve --also zstd:chunked: the index of `copy --also`, byte for byte, whose layers are made when they are pulled.
# tests/peers/clients.sh has the clients.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
need_command curl
need_command skopeo
export XDG_CACHE_HOME=$work/cache
server=
stop() { [[ ! $server ]] || { kill -TERM "$server" && wait "$server" || fail "serve ends with an error"; server=; }; }
finish() {
  [[ ! $server ]] || kill "$server" 2>/dev/null || true
  stop_registry
}
trap finish EXIT
start_registry "$work/registry"

image=$(greeter app:t one)
machines='arm = pkgs // { stdenv.hostPlatform = { system = "aarch64-linux"; go.GOARCH = "arm64"; }; };
  of = pkgs: word: (import '"$root"'/nix { inherit pkgs; hostPkgs = pkgs.buildPackages; }).buildImage { name = "multi"; tag = "t"; config.Cmd = [ "${pkgs.hello}/bin/hello" word ]; };'
multi=$(build "(let $machines in buildIndex { images = { x86_64-linux = of pkgs \"amd64\"; aarch64-linux = of arm \"arm64\"; }; annotations.\"org.example.a\" = \"b\"; })")

# raw HOST NAME VERSION: prints a manifest or an index.
raw() {
  curl --silent --fail --header 'Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json' \
    "http://$1/v2/$2/manifests/$3"
}
push() { "$strata" copy --quiet "$@" 2>"$work/push.log" || { cat "$work/push.log"; fail "it is not pushed"; }; }
# equal NAME COUNT FLAG…: expects that the index of NAME, which has COUNT manifests, and its manifests are those of `copy FLAG…`, and
# that every blob is served with its digest and size.
equal() {
  local name=$1 count=$2 source=${sources[$1]} manifest digest size
  shift 2
  digest=$(push --all "$source" "docker://$registry/$name:t" "$@")
  raw "$registry" "$name" t >"$work/pushed"
  raw "$host" "$name" t >"$work/served"
  same "sha256:$(sha256sum <"$work/served" | cut -d ' ' -f 1)" "$digest"
  cmp "$work/pushed" "$work/served" || fail "the indexes of $name differ"
  same "$(jq '.manifests | length' "$work/served")" "$count"
  for manifest in $(jq -r '.manifests[].digest' "$work/served"); do
    raw "$registry" "$name" "$manifest" >"$work/pushed.manifest"
    raw "$host" "$name" "$manifest" >"$work/manifest"
    cmp "$work/pushed.manifest" "$work/manifest" || fail "the manifests of $name differ"
    while read -r digest size; do
      curl --silent --fail "http://$host/v2/$name/blobs/$digest" >"$work/blob"
      same "sha256:$(sha256sum <"$work/blob" | cut -d ' ' -f 1) $(stat -c %s "$work/blob")" "$digest $size"
    done < <(jq -r '.config, .layers[] | "\(.digest) \(.size)"' "$work/manifest")
  done
}
declare -A sources=([app]=$image [multi]=$multi)

# The first manifest of a server has uncompressed layers: those of a push without compression.
start_server --also zstd:chunked "$image" "multi:t=$multi"
grep -q 'containerd fetches the layers of both manifests' "$work/serve.log" || { cat "$work/serve.log"; fail "the note is missing"; }
equal app 2 --also zstd:chunked --compression none
equal multi 4 --also zstd:chunked --compression none
same "$(jq -c '[.annotations, [.manifests[] | [.platform.architecture, (.annotations // {} | keys[])]]]' "$work/served")" \
  '[{"org.example.a":"b"},[["arm64"],["amd64"],["arm64","io.github.containers.compression.zstd"],["amd64","io.github.containers.compression.zstd"]]]'
raw "$host" app t >"$work/served"
read -r first marked < <(jq -r '[.manifests[].digest] | join(" ")' "$work/served")
same "$(raw "$host" app "$first" | jq -r '[.layers[].mediaType] | unique[]')" application/vnd.oci.image.layer.v1.tar
# The second manifest is that of the default push, too, and of a push and a server with zstd:chunked layers alone.
push "$image" "docker://$registry/gzip:t" --also zstd:chunked >/dev/null
same "$(raw "$registry" gzip t | jq -r '.manifests[1].digest')" "$marked"
same "$(push "$image" "docker://$registry/chunked:t" --compression zstd:chunked)" "$marked"
# Nothing is compressed for a second server, and a push from the server makes the same index.
stop
start_server --also zstd:chunked "$image" "other:t=$image"
read=$(sed -n 's/^rchar: //p' "/proc/$server/io")
((read < 10000000)) || fail "serve reads $read bytes of layers whose tables of contents are cached"
same "$(raw "$host" other t | sha256sum)" "$(sha256sum <"$work/served")"
same "$(push --all "docker://$host/app:t" "docker://$registry/again:t" --compression none)" "sha256:$(sha256sum <"$work/served" | cut -d ' ' -f 1)"
"$strata" verify "docker://$host/app:t" --tls-verify=false >"$work/out" || { cat "$work/out"; fail "verify finds problems"; }
skopeo copy --quiet --all --src-tls-verify=false "docker://$host/app:t" "oci:$work/skopeo:t"
stop

# With --lazy, the index is that of `copy --lazy --also`, and both manifests have the same layers.
start_server --lazy --also zstd:chunked "$image" "multi:t=$multi"
lacks 'containerd fetches' "$work/serve.log"
equal app 2 --lazy --also zstd:chunked
same "$(jq -r '.manifests[1].digest' "$work/served")" "$marked"
for manifest in $(jq -r '.manifests[].digest' "$work/served"); do raw "$host" app "$manifest" | jq -c '[.layers[].digest]'; done >"$work/layers"
same "$(uniq "$work/layers" | wc -l)" 1
# The second manifest is for other clients: a push does not warn that nodes of --lazy pull its layers whole.
"$strata" copy "$image" "docker://$registry/app:warned" --lazy --also zstd:chunked >/dev/null 2>"$work/push.log" || { cat "$work/push.log"; fail "it is not pushed"; }
lacks 'is pulled whole' "$work/push.log"
equal multi 4 --lazy --also zstd:chunked
stop

# Referrers of a manifest that is served as it is are served.
push "$image" "docker://$registry/signed:t" --preserve-digests --sbom cyclonedx >/dev/null
same "$(raw "$registry" signed t | sha256sum | cut -d ' ' -f 1)" "${first#sha256:}"
start_server --also zstd:chunked "docker://$registry/signed:t"
same "$(curl --silent --fail "http://$host/v2/signed/referrers/$first" | jq '.manifests | length')" 1
lacks 'not served' "$work/serve.log"
stop
start_server --lazy --also zstd:chunked "docker://$registry/signed:t"
grep -q '^1 referrers of .* are not served' "$work/serve.log" || { cat "$work/serve.log"; fail "the lost referrer is not reported"; }
stop

# Annotations of a table that the layers of the source have, although they are uncompressed, are not those of the pushed blobs.
"$strata" copy --quiet "$image" "oci:$work/layout:t" >/dev/null
cp -r "$work/layout" "$work/stale"
python3 - "$work/stale" <<'PYTHON'
import hashlib, json, sys

top = sys.argv[1]
index = json.load(open(f"{top}/index.json"))
manifest = json.load(open(f"{top}/blobs/sha256/{index['manifests'][0]['digest'][7:]}"))
for layer in manifest["layers"]:
    layer["annotations"] = {
        "containerd.io/snapshot/stargz/toc.digest": "sha256:" + "0" * 64,
        "io.github.containers.zstd-chunked.manifest-checksum": "sha256:" + "1" * 64,
        "io.github.containers.zstd-chunked.manifest-position": "1:2:3:1",
        "io.containers.zstd-chunked.manifest-checksum": "sha256:" + "2" * 64,
    }
text = json.dumps(manifest).encode()
digest = hashlib.sha256(text).hexdigest()
open(f"{top}/blobs/sha256/{digest}", "wb").write(text)
index["manifests"][0].update(digest=f"sha256:{digest}", size=len(text))
json.dump(index, open(f"{top}/index.json", "w"))
PYTHON
layers() { raw "$registry" "$1" t | jq -c '.layers'; }
for flags in --lazy "--compression zstd:chunked" "--compression zstd" "--compression gzip"; do
  read -ra flags <<<"$flags"
  push "oci:$work/layout:t" "docker://$registry/clean:t" "${flags[@]}" >/dev/null
  push "oci:$work/stale:t" "docker://$registry/stale:t" "${flags[@]}" >/dev/null
  same "$(layers stale)" "$(layers clean)"
done
start_server --lazy "stale:t=oci:$work/stale:t"
push "oci:$work/layout:t" "docker://$registry/clean:t" --lazy >/dev/null
same "$(raw "$host" stale t | jq -c .layers)" "$(layers clean)"
stop

# refused WHY ARGUMENT…
refused() {
  local why=$1
  shift
  if timeout 60 "$strata" serve --listen 127.0.0.1:0 "$@" >"$work/out" 2>&1; then fail "it is not refused: $*"; fi
  grep -qF -- "$why" "$work/out" || { cat "$work/out"; fail "no reason: $why"; }
}
refused 'omit --also or --chunked' --chunked --also zstd:chunked "$image"
refused 'write --lazy --also zstd:chunked' --also lazy "$image"
refused 'push to another tag with `strata copy --nix-node`' --also nix-node "$image"
refused 'write zstd:chunked' --also gzip "$image"
refused 'cannot be used with' --also zstd:chunked --flake "$work"
refused 'two images are named app:t' --also zstd:chunked "$image" "$(greeter app:t two)"
"$strata" copy --quiet "docker://$registry/chunked:t" "oci:$work/compressed:t" --src-tls-verify=false >/dev/null
refused 'every layer is compressed already' --also zstd:chunked "$image" "app:u=oci:$work/compressed:t"
refused '--lazy is for uncompressed layers, and every layer is compressed already' --lazy "app:u=oci:$work/compressed:t"
