# An index of the ordinary manifest and one of EROFS layers (os.features: erofs), which `copy --also erofs` would push. It is refused,
# because few nodes gain from it: most clients fetch the ordinary layers, among them containerd's CRI with the erofs snapshotter, and
# ctr fetches both if it asks for the platform linux(+erofs). Only programs with containerd's Go library fetch the EROFS layers alone.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_command docker-registry
need_command jq
need_command curl
need_command podman
need_command skopeo
need_command busybox
need_engines
grep -q erofs /proc/filesystems || modprobe erofs 2>/dev/null || skip "this kernel has no EROFS"
export XDG_CACHE_HOME=$work/cache
finish() {
  kill "${counter-}" 2>/dev/null || true
  stop_engines
  stop_registry
}
trap finish EXIT
start_registry "$work/registry"
start_counter "${registry##*:}"
# The layers have no entry for /: mkfs.erofs before 1.9 crashes on it (erofs/erofs-utils#29), and Debian 13 has 1.8.
image=$work/image.tar
python3 - "$image" "$(command -v busybox)" <<'PYTHON'
import hashlib, io, json, platform, sys, tarfile


def tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, mode, data in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


layers = [tar([("bin/busybox", 0o755, open(sys.argv[2], "rb").read())]), tar([("etc/word", 0o644, b"one\n")])]
config = {
    "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
    "os": "linux",
    "config": {"Cmd": ["/bin/busybox", "cat", "/etc/word"]},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]},
}
manifest = [{"Config": "config.json", "RepoTags": ["app:t"], "Layers": [f"{at}.tar" for at in range(len(layers))]}]
files = [("manifest.json", json.dumps(manifest).encode()), ("config.json", json.dumps(config).encode())]
files += [(f"{at}.tar", layer) for at, layer in enumerate(layers)]
with open(sys.argv[1], "wb") as file:
    file.write(tar([(name, 0o644, data) for name, data in files]))
PYTHON
push() { "$strata" copy --quiet "$@" 2>"$work/log" || { cat "$work/log"; fail "it is not copied"; }; }

# put FILE: uploads a blob, and prints its digest.
put() {
  local digest location
  digest=sha256:$(sha256sum <"$1" | cut -d ' ' -f 1)
  location=$(curl --silent --fail --request POST --dump-header - --output /dev/null "http://$registry/v2/app/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  curl --silent --fail --request PUT --header 'Content-Type: application/octet-stream' --data-binary "@$1" "$location&digest=$digest"
  echo "$digest"
}
get() { curl --silent --fail --header 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$registry/v2/app/$1"; }
# put_manifest REFERENCE FILE KIND
put_manifest() { curl --silent --fail --request PUT --header "Content-Type: application/vnd.oci.image.$3.v1+json" --data-binary "@$2" "http://$registry/v2/app/manifests/$1" >/dev/null; }
descriptor() { jq -nc --arg type "$1" --arg digest "sha256:$(sha256sum <"$2" | cut -d ' ' -f 1)" --argjson size "$(stat -c %s "$2")" '{ mediaType: $type, digest: $digest, size: $size }'; }

refused=$("$strata" copy --quiet "$image" "docker://$registry/app:refused" --also erofs 2>&1) && fail "--also erofs is accepted"
[[ $refused == *'Kubernetes takes the first manifest'* ]] || fail "no reason: $refused"

# The layers are those of erofs-cache:. The configuration is that of `ctr images convert --erofs` (containerd 2.4,
# core/images/converter/erofs/erofs.go): diff_ids are the digests of the EROFS images.
ordinary=$(push "$image" "docker://$registry/app:ordinary")
push "$image" "erofs-cache:$work/layers" >/dev/null
get "manifests/$ordinary" >"$work/ordinary.json"
get "blobs/$(jq -r .config.digest "$work/ordinary.json")" >"$work/config.json"
arch=$(jq -r .architecture "$work/config.json")
: >"$work/layers.json"
for diff_id in $(jq -r '.rootfs.diff_ids[]' "$work/config.json"); do
  hex=${diff_id#sha256:}
  put "$work/layers/sha256/${hex:0:2}/$hex.erofs" >/dev/null
  descriptor application/vnd.erofs.layer.v1 "$work/layers/sha256/${hex:0:2}/$hex.erofs" >>"$work/layers.json"
done
jq -c --slurpfile layers "$work/layers.json" '.rootfs.diff_ids = [$layers[].digest] | .["os.features"] = ["erofs"]' "$work/config.json" >"$work/erofs-config.json"
put "$work/erofs-config.json" >/dev/null
jq -c --slurpfile layers "$work/layers.json" --argjson config "$(descriptor application/vnd.oci.image.config.v1+json "$work/erofs-config.json")" \
  '.config = $config | .layers = $layers' "$work/ordinary.json" >"$work/erofs.json"
erofs=sha256:$(sha256sum <"$work/erofs.json" | cut -d ' ' -f 1)
put_manifest "$erofs" "$work/erofs.json" manifest
jq -nc --arg arch "$arch" --argjson ordinary "$(descriptor application/vnd.oci.image.manifest.v1+json "$work/ordinary.json")" \
  --argjson erofs "$(descriptor application/vnd.oci.image.manifest.v1+json "$work/erofs.json")" \
  '{ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [
     $ordinary + { platform: { architecture: $arch, os: "linux" } },
     $erofs + { platform: { architecture: $arch, os: "linux", "os.features": ["erofs"] } } ] }' >"$work/index.json"
put_manifest t "$work/index.json" index
jq -r '.layers[].digest' "$work/ordinary.json" >"$work/ordinary.layers"
jq -r '.layers[].digest' "$work/erofs.json" >"$work/erofs.layers"

# fetches CLIENT LAYERS COMMAND…: expects the manifests whose layers the client fetches.
fetches() {
  local client=$1 expected=$2 before found="" which
  shift 2
  before=$(requests | wc -l)
  "$@" >"$work/out" 2>"$work/log" || { cat "$work/out" "$work/log"; fail "$client does not pull the image"; }
  requests | tail -n +"$((before + 1))" | grep -F 'GET /v2/app/blobs/' >"$work/requests" || :
  for which in ordinary erofs; do
    ! grep -qFf "$work/$which.layers" "$work/requests" || found+=" $which"
  done
  same "$client:$found" "$client: $expected"
}
fetches strata ordinary "$strata" copy --quiet "docker://$counted/app:t" "oci:$work/one:t" --src-tls-verify=false
fetches "skopeo $(skopeo --version)" ordinary skopeo copy --src-tls-verify=false "docker://$counted/app:t" "dir:$work/skopeo"
if from_go github.com/google/go-containerregistry/cmd/crane@v0.20.6 crane; then
  fetches crane ordinary crane pull --insecure --platform "linux/$arch" "$counted/app:t" "$work/crane.tar"
fi
use_podman "$work/podman"
fetches "$(podman --version)" ordinary podman pull --quiet --tls-verify=false "$counted/app:t"
same "$(podman run --rm --network none "$counted/app:t")" one
for engine in docker20 docker29; do
  engine_network=shared "start_$engine" "$work/$engine" || fail "$engine does not start"
  fetches "$engine" ordinary docker pull --quiet "$counted/app:t"
  same "$(docker run --rm --network none "$counted/app:t")" one
  stop_engine
done

ctr() { "$engines/ctr" "$@"; }
# containerd 2.2 compares no os.features.
engine_network=shared start_containerd "$work/containerd-2.2" || fail "containerd does not start"
fetches "containerd 2.2" "ordinary erofs" ctr images pull --plain-http "$counted/app:t"
same "$(run_with_ctr "$counted/app:t" one 2>"$work/log")" one
stop_engine

use_containerd v2.4.2 || exit 77
# unpack_with PLATFORM DIFFER
unpack_with() {
  printf '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = "%s/%s"\nsnapshotter = "erofs"\ndiffer = "%s"\n' "$1" "$arch" "$2"
}
engine_network=shared start_containerd "$work/containerd-2.4" || fail "containerd does not start"
fetches "containerd 2.4" ordinary ctr images pull --plain-http "$counted/app:t"
same "$(run_with_ctr "$counted/app:t" one 2>"$work/log")" one
stop_engine

# Kubernetes: the platform is linux/amd64 in any case (containerd, internal/cri/server/images/image_pull.go).
if from_go sigs.k8s.io/cri-tools/cmd/crictl@v1.34.0 crictl; then
  engine_network=shared start_containerd "$work/cri" "[plugins.\"io.containerd.cri.v1.images\"]
snapshotter = \"erofs\"
$(unpack_with linux walking)" || fail "containerd does not start"
  fetches "CRI of containerd 2.4" ordinary crictl --runtime-endpoint "unix://$CONTAINERD_ADDRESS" --image-endpoint "unix://$CONTAINERD_ADDRESS" \
    pull "$counted/app:t"
  stop_engine
fi

# With the platform linux(+erofs), both manifests match, and the transfer service has no limit (core/transfer/image/imagestore.go,
# ImageFilter). The EROFS layers work.
if use_mkfs_of_debian13 "$work/tools"; then
  PATH=$work/tools:$PATH engine_network=shared start_containerd "$work/erofs" "$(unpack_with 'linux(+erofs)' erofs)" || fail "containerd does not start"
  fetches "containerd 2.4 with linux(+erofs)" "ordinary erofs" \
    ctr images pull --plain-http --platform "linux(+erofs)/$arch" --snapshotter erofs "$counted/app:t"
  same "$(run_with_ctr --snapshotter erofs --platform "linux(+erofs)/$arch" "$counted/app:t" native 2>"$work/log")" one
  stop_engine
  # containerd's Go library fetches one manifest, and prefers the one with the features (client/pull.go, LimitManifests).
  mkdir "$work/library"
  cp "$root/tests/peers/containerd_pull.go" "$work/library"
  if (cd "$work/library" && go mod init pull && online go get github.com/containerd/containerd/v2/client@v2.4.2 &&
    CGO_ENABLED=0 online go build -o pull .) >"$work/log" 2>&1; then
    PATH=$work/tools:$PATH engine_network=shared start_containerd "$work/library/node" "$(unpack_with 'linux(+erofs)' erofs)
[plugins.\"io.containerd.service.v1.diff-service\"]
default = [\"erofs\", \"walking\"]" || fail "containerd does not start"
    for platform in "linux/$arch ordinary" "linux(+erofs)/$arch erofs"; do
      fetches "containerd's library with ${platform% *}" "${platform#* }" "$work/library/pull" "$CONTAINERD_ADDRESS" "$counted/app:t" "${platform% *}"
      same "$(run_with_ctr --snapshotter erofs --platform "${platform% *}" "$counted/app:t" library 2>"$work/log")" one
    done
    stop_engine
  else
    tail -n 3 "$work/log"
    skip_part "containerd's library cannot be built"
  fi
  cat >"$work/in13.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$work/containers-13"
runroot = "$work/run-13"
CONF
  in13() { "$root/dev/debian13" run env CONTAINERS_STORAGE_CONF="$work/in13.conf" "$@"; }
  fetches "podman 5" ordinary in13 podman pull --quiet --tls-verify=false "$counted/app:t"
  same "$(in13 podman run --rm --network none "$counted/app:t" 2>"$work/log")" one
  fetches "skopeo of Debian 13" ordinary in13 skopeo copy --src-tls-verify=false "docker://$counted/app:t" "dir:$work/skopeo13"
fi
