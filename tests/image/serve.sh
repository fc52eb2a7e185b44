# strata serve: the requirements of the distribution specification, and clients that pull.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
need_command curl

image=$(build 'buildImage { name = "served"; tag = "t"; maxLayers = 3; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
layout=$(build 'let image = architecture: ociImageManifest { extraConfig = { inherit architecture; config.Cmd = [ architecture ]; };
    layers = [ (ociLayerTar { files = [ { source = pkgs.hello; destination = "/"; } ]; }) ]; };
  in ociImageLayout { manifests = [ (image "amd64") (image "arm64") ]; }')

stop() { kill -TERM "$server" 2>/dev/null || return 0; wait "$server"; }
start_server "$image" "deep/name/platforms:all=$layout"
trap stop EXIT
same "$(sort "$work/references" | tr '\n' ' ')" "$host/deep/name/platforms:all $host/served:t "

# get PATH [curl options…]: prints the body. Status and headers are in $work/headers.
get() { curl --silent --show-error --dump-header "$work/headers" "http://$host/v2/$1" "${@:2}"; }
status() { sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$work/headers"; }
header() { tr -d '\r' <"$work/headers" | sed -n "s/^$1: //Ip"; }

same "$(get "")" "{}"
same "$(header docker-distribution-api-version)" registry/2.0
same "$(get served/tags/list)" '{"name":"served","tags":["t"]}'
same "$(get _catalog | jq -c .repositories)" '["deep/name/platforms","served"]'
get _catalog?n=1 >/dev/null
same "$(header link)" '</v2/_catalog?n=1&last=deep/name/platforms>; rel="next"'
get served/manifests/t >"$work/manifest"
digest=sha256:$(sha256sum <"$work/manifest" | cut -d ' ' -f 1)
same "$(header docker-content-digest)" "$digest"
same "$(header content-type)" application/vnd.oci.image.manifest.v1+json
same "$(get "served/manifests/$digest" | sha256sum)" "$(sha256sum <"$work/manifest")"
get served/manifests/t -H "If-None-Match: \"$digest\"" >/dev/null
same "$(status)" 304
get served/manifests/t --head >/dev/null
same "$(header content-length)" "$(stat -c %s "$work/manifest")"

layer=$(jq -r '.layers[-1].digest' "$work/manifest")
size=$(jq -r '.layers[-1].size' "$work/manifest")
get "served/blobs/$layer" >"$work/layer"
same "sha256:$(sha256sum <"$work/layer" | cut -d ' ' -f 1)" "$layer"
same "$(header content-length) $(header etag)" "$size \"$layer\""
get "served/blobs/$layer" -H 'Range: bytes=1000-1999' >"$work/part"
same "$(status) $(header content-range)" "206 bytes 1000-1999/$size"
cmp "$work/part" <(tail -c +1001 "$work/layer" | head -c 1000)
get "served/blobs/$layer" -H 'Range: bytes=-10' | cmp - <(tail -c 10 "$work/layer")
get "served/blobs/$layer" -H "Range: bytes=$size-" >/dev/null
same "$(status) $(header content-range)" "416 bytes */$size"
# Ranges are for GET alone.
get "served/blobs/$layer" --head -H "Range: bytes=0-9" >/dev/null
same "$(status) $(header content-length)" "200 $size"
get "served/referrers/$digest" >"$work/body"
same "$(status) $(jq -c .manifests "$work/body")" "200 []"

# refuses STATUS CODE PATH [curl options…]
refuses() {
  get "$3" "${@:4}" >"$work/body"
  same "$(status) $(jq -r '.errors[0].code' "$work/body")" "$1 $2"
}
refuses 404 MANIFEST_UNKNOWN served/manifests/other
refuses 404 NAME_UNKNOWN other/manifests/t
refuses 404 BLOB_UNKNOWN "served/blobs/sha256:$(printf '%064d' 0)"
refuses 400 DIGEST_INVALID served/blobs/sha256:short
refuses 404 NAME_UNKNOWN served
refuses 405 UNSUPPORTED served/blobs/uploads/ --request POST
refuses 404 NAME_UNKNOWN ../../etc/passwd --path-as-is

if command -v skopeo >/dev/null; then
  same "$(skopeo inspect --tls-verify=false "docker://$host/served:t" | jq -r .Digest)" "$digest"
  skopeo copy --quiet --src-tls-verify=false "docker://$host/served:t" "oci:$work/pulled:t"
  "$strata" verify "$work/pulled" | grep -q ' 0 problems$' || fail "verify finds problems in the pulled image"
  for architecture in amd64 arm64; do
    same "$(skopeo inspect --config --tls-verify=false --override-arch "$architecture" "docker://$host/deep/name/platforms:all" |
      jq -r '.config.Cmd[0]')" "$architecture"
  done
fi
if [[ ${docker-} ]]; then
  docker pull --quiet "$host/served:t" >/dev/null
  same "$(run "$host/served:t")" "Hello, world!"
  docker rmi "$host/served:t" >/dev/null
fi
if command -v podman >/dev/null; then
  podman=(podman --root "$work/containers" --runroot "$work/run" --runtime runc --storage-driver vfs)
  "${podman[@]}" pull --quiet --tls-verify=false "$host/served:t" >/dev/null
  same "$("${podman[@]}" run --rm --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network none "$host/served:t")" "Hello, world!"
  "${podman[@]}" rmi --all --force >/dev/null
fi

# 32 concurrent pulls of the largest layer succeed with little memory.
biggest=$(jq -r '.layers | max_by(.size).digest' "$work/manifest")
pullers=()
for number in $(seq 32); do
  curl --silent "http://$host/v2/served/blobs/$biggest" | sha256sum >"$work/pulled-$number" &
  pullers+=($!)
done
wait "${pullers[@]}"
same "$(sort -u "$work"/pulled-* | tr -d ' -')" "${biggest#sha256:}"
peak=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$server/status")
((peak < 200000)) || fail "serving takes $peak kB"

# strata pulls from it too: one image, all images, and from one registry to another.
same "$("$strata" pull "$host/served:t" "$work/dir")" "$digest"
same "$(cat "$work/dir/version")" "Directory Transport Version: 1.1"
cmp "$work/dir/manifest.json" "$work/manifest"
"$strata" manifest "$host/served:t" | cmp - "$work/manifest"
"$strata" manifest "docker://$host/served:t" | cmp - "$work/manifest"
"$strata" pull "docker://$host/served:t" "$work/pulled-with-prefix" >/dev/null
same "$("$strata" manifest "$host/deep/name/platforms:all" --index | jq '.manifests | length')" 2
arm=$("$strata" manifest "$host/deep/name/platforms:all" --platform linux/arm64 | sha256sum)
same "$("$strata" copy "docker://$host/deep/name/platforms:all" "dir:$work/arm" --platform linux/arm64 | cut -d : -f 2)" "${arm%% *}"
"$strata" manifest "$host/deep/name/platforms:all" --platform linux/s390x 2>"$work/log" && fail "there is no s390x"
grep -q 'found linux/amd64, linux/arm64' "$work/log" || { cat "$work/log"; fail "the error does not list the platforms"; }

# A running pull is completed after the registry is terminated.
curl --silent --limit-rate 8M "http://$host/v2/served/blobs/$(jq -r '.layers | max_by(.size).digest' "$work/manifest")" >"$work/slow" &
slow=$!
wait_for "$slow" test -s "$work/slow" || fail "the pull ends before it began"
kill -TERM "$server"
wait "$slow" || fail "a pull on its way was cut"
wait "$server" || fail "serve ends with an error"
same "sha256:$(sha256sum <"$work/slow" | cut -d ' ' -f 1)" "$(jq -r '.layers | max_by(.size).digest' "$work/manifest")"

# A layer with a missing store path: the log names the path and the remedy, and the response is aborted.
jq '.name = "gone" | .layers |= map(.paths[0].path |= sub("/[0-9a-z]{32}-"; "/00000000000000000000000000000000-"))' "$image" >"$work/gone.json"
start_server "$work/gone.json"
layer=$(jq -r '.layers[-1].digest' "$work/gone.json")
if curl --silent --output "$work/cut" "http://$host/v2/gone/blobs/$layer"; then fail "a layer of a store path that is gone is served"; fi
stop || true
gone=$(jq -r '.layers[-1].paths[0].path' "$work/gone.json")
grep -F "strata: serving $layer: " "$work/serve.log" | grep -F "$gone" | grep -qF "is not on this machine" || { cat "$work/serve.log"; fail "no reason in the log"; }
"$strata" serve --listen 127.0.0.1:0 "$image" "$image" 2>"$work/log" && fail "one name for two images"
grep -qF 'two images are named served:t' "$work/log" || { cat "$work/log"; fail "the message lacks the name"; }
