# Indexes in the form of docker buildx keep their digest through other tools.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command skopeo
need_command umoci
need_command jq
need_command podman
start_registry "$work/registry"
trap 'stop_registry' EXIT
export XDG_CACHE_HOME=$work/cache
layout=$work/layout
index=$(python3 "$root/tests/image/buildx.py" "$layout")
"$strata" verify "$layout" | grep -q ' 0 problems$' || fail "verify finds problems"

# To a registry, with skopeo to another name, and back: the digest of the index stays, and all its images are complete.
same "$("$strata" copy --all "oci:$layout:v1" "docker://$registry/by_strata:v1" --quiet)" "$index"
skopeo copy --quiet --all --src-tls-verify=false --dest-tls-verify=false "docker://$registry/by_strata:v1" "docker://$registry/by_skopeo:v1"
same "$("$strata" copy --all "docker://$registry/by_skopeo:v1" "oci:$work/back:v1" --quiet)" "$index"
"$strata" verify "$work/back" | grep -q ' 0 problems$' || fail "verify finds problems in the layout that skopeo copied back"
same "$(jq -r '.manifests[0].digest' "$work/back/index.json")" "$index"
# skopeo copies layouts and archives in both directions.
skopeo copy --quiet --all "oci:$work/back:v1" "oci:$work/by-skopeo:v1"
same "$("$strata" copy --all "oci:$work/by-skopeo:v1" "oci-archive:$work/archive.tar:name:v1" --quiet)" "$index"
skopeo copy --quiet --all "oci-archive:$work/archive.tar:v1" "oci:$work/unpacked:v1"
same "$(jq -r '.manifests[0].digest' "$work/unpacked/index.json")" "$index"
# skopeo's dir: with --all holds an index too.
skopeo copy --quiet --all "oci:$work/back:v1" "dir:$work/dir"
same "$("$strata" copy --all "dir:$work/dir" "oci:$work/from-dir:v1" --quiet)" "$index"
# podman keeps the config, whose digest is the ID of an image, and every layer, in both archive formats.
"$strata" copy "oci:$layout:v2" "docker-archive:$work/plain.tar:podman-graph:t" --quiet >/dev/null
config=$(tar -xOf "$work/plain.tar" manifest.json | jq -r '.[0].Config | ltrimstr("blobs/sha256/")')
podman() { command podman --root "$work/podman" --runroot "$work/podman-run" --storage-driver vfs "$@"; }
podman load --quiet --input "$work/plain.tar" >/dev/null
for format in oci-archive docker-archive; do
  podman save --quiet --format "$format" --output "$work/podman-$format.tar" localhost/podman-graph:t 2>/dev/null ||
    podman save --quiet --format "$format" --output "$work/podman-$format.tar" docker.io/library/podman-graph:t
  "$strata" copy "$work/podman-$format.tar" "docker-archive:$work/from-$format.tar:podman-graph:t" --quiet >/dev/null
  same "$(tar -xOf "$work/from-$format.tar" manifest.json | jq -r '.[0].Config | ltrimstr("blobs/sha256/")')" "$config"
  "$strata" verify "$work/from-$format.tar" | grep -q ' 0 problems$' || fail "podman's $format has problems"
done
# Only the images of the tag were copied.
same "$(find "$work/back/blobs" -type f | wc -l)" 13

# Other tools unpack one of its images.
"$strata" copy --platform linux/arm64 "oci:$layout:v1" "oci:$work/one:v1" --quiet >/dev/null
umoci unpack --rootless --image "$work/one:v1" "$work/bundle" >/dev/null 2>&1 || fail "umoci unpack"
same "$(<"$work/bundle/rootfs/for-arm64")" hello
# umoci adds a second name, removes the first, and adds a layer.
one=$("$strata" inspect "oci:$work/one:v1" --json | jq -r '.[0].digest')
umoci tag --image "$work/one:v1" again
umoci rm --image "$work/one:v1"
same "$("$strata" copy "oci:$work/one:again" "oci:$work/by-umoci:v1" --quiet)" "$one"
echo more >"$work/more"
umoci insert --rootless --image "$work/by-umoci:v1" "$work/more" /more
"$strata" verify "$work/by-umoci" | grep -q ' 0 problems$' || fail "verify finds problems in umoci's layout"
"$strata" copy "oci:$work/by-umoci:v1" "docker://$registry/by_strata:umoci" --quiet >/dev/null

refused() {
  local status=0
  "$strata" copy "${@:2}" >/dev/null 2>"$work/message" || status=$?
  same "$status" 2
  grep -qF -- "$1" "$work/message" || { cat "$work/message"; fail "the message lacks: $1"; }
}
refused "no image matches linux/s390x; found linux/amd64, linux/arm64" --platform linux/s390x "oci:$layout:v1" "dir:$work/x"
refused "choose one by its tag; found v1, v2, v3" --all "oci:$layout" "oci:$work/x"
refused "no image is named v9; found v1, v2, v3" "oci:$layout:v9" "oci:$work/x"
for one in docker-daemon:x:y containers-storage:x:y "dir:$work/x" "docker-archive:$work/x"; do
  refused "can hold only one image" --all "oci:$layout:v1" "$one"
done

# Uncompressed layers are compressed in pushes, unless --preserve-digests is given.
plain=$("$strata" inspect "oci:$layout:v2" --json | jq -r '.[0].digest')
same "$("$strata" copy "oci:$layout:v2" "docker://$registry/plain:kept" --preserve-digests --quiet)" "$plain"
packed=$("$strata" copy "oci:$layout:v2" "docker://$registry/plain:packed" 2>"$work/messages")
[[ $packed != "$plain" ]] || fail "an uncompressed layer was not compressed"
grep -qF "the digest was $plain" "$work/messages" || { cat "$work/messages"; fail "no message that the digest changed"; }
skopeo inspect --raw --tls-verify=false "docker://$registry/plain:packed" | grep -q 'tar+gzip' || fail "the layer is not gzip"
# The same for an index: attestations about the old images are not copied.
"$strata" copy --all "oci:$layout:v3" "docker://$registry/plain:index" >/dev/null 2>"$work/messages"
grep -qF "2 attestations" "$work/messages" || { cat "$work/messages"; fail "no message about the attestations that were not copied"; }
same "$(skopeo inspect --raw --tls-verify=false "docker://$registry/plain:index" | jq '.manifests | length')" 2
skopeo copy --quiet --all --src-tls-verify=false "docker://$registry/plain:index" "dir:$work/packed" || fail "skopeo cannot pull the index"
"$strata" copy --compression zstd --preserve-digests "oci:$layout:v2" "docker://$registry/x:y" 2>"$work/message" && fail "both were taken"
grep -qF "'--compression <FORMAT>' cannot be used with '--preserve-digests'" "$work/message" || { cat "$work/message"; fail "the options are not named"; }
# A copy that is killed at any moment leaves the old or the new destination, and repeating it completes the copy.
for milliseconds in 1 3 5 8 12 20 30; do
  # timeout runs in the foreground, since otherwise its process group is killed with it, and strata may live on with its
  # locks.
  killed() { timeout --foreground --signal=KILL "$(printf '0.%03d' "$milliseconds")" "$strata" copy "$@" >/dev/null 2>&1 || true; }
  killed --all "oci:$layout:v1" "oci:$work/killed:v1"
  killed "oci:$layout:v2" "dir:$work/killed-dir"
  [[ ! -e $work/killed/index.json ]] || "$strata" verify "$work/killed" | grep -q ' 0 problems$' || fail "a layout is broken"
  [[ ! -e $work/killed-dir ]] || "$strata" verify "$work/killed-dir" | grep -q ' 0 problems$' || fail "a dir: is broken"
done
same "$("$strata" copy --all "oci:$layout:v1" "oci:$work/killed:v1" --quiet)" "$index"
"$strata" copy "oci:$layout:v2" "dir:$work/killed-dir" --quiet >/dev/null
same "$(find "$work" -name '.strata-*.tmp' | wc -l)" 0
