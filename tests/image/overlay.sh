# Stacks of layers become the same tree as in the engines: docker 20.10, podman, containerd, and Docker 29, whose layers
# containerd unpacks. They are compared with exportImage, whose overlay runAsRoot, SBOMs and base images share
# (src/layer/overlay.rs).
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_command python3
trap stop_engines EXIT
seed=${OVERLAY_SEED:-1} count=${OVERLAY_IMAGES:-12}
echo "seed $seed"
mkdir "$work/images" "$work/trees"
python3 "$root/tests/image/random_layers.py" make "$seed" "$count" "$work/images"

# case NAME LAYER…: an image NAME.tar with these layers; a layer is a list of entries: name, name/, name -> target.
python3 - "$work/images" <<'PYTHON'
import io, json, sys, tarfile
sys.path.insert(0, "tests/image")
import random_layers
def layer(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for text in entries:
            name, _, target = text.partition(" -> ")
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.SYMTYPE if target else tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            entry.linkname, entry.mode, entry.mtime = target, 0o755, 1
            data = b"" if target or name.endswith("/") or ".wh." in name else name.encode()
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()
lower = layer("s0/", "s0/usr/", "s0/usr/bin/", "s0/usr/bin/sh", "s0/bin -> usr/bin", "s0/a", "s0/d/", "s0/d/x", "s0/d/y")
for name, upper in {
    "rules_oci-857": layer("s0/bin/tool"),
    "stereoscope-694": layer("s0/bin/.wh.sh"),
    "opaque-link": layer("s0/bin/.wh..wh..opq"),
    "umoci-546": layer("s0/a/b"),
    "own-link": layer("s0/bin -> usr/bin", "s0/usr/bin/", "s0/bin/tool", "s0/bin/.wh.sh"),
    "file-over-directory": layer("s0/d"),
    "opaque": layer("s0/d/z", "s0/d/.wh..wh..opq"),
    # Engines differ here: see below.
    "whiteout-and-directory": layer("s0/.wh.d", "s0/d/", "s0/d/z"),
    "nested-parents": layer("s0/a/b/c"),
    "dangling": layer("s0/l -> nowhere", "s0/l/x"),
}.items():
    random_layers.write_image(f"{sys.argv[1]}/{name}.tar", [lower, upper])
    with open(f"{sys.argv[1]}/{name}.json", "w") as out:
        json.dump(["s0", "s0/usr"], out)
PYTHON

names=()
for archive in "$work/images/"*.tar; do names+=("$(basename "$archive" .tar)"); done
# tree NAME ENGINE TAR-OR-DIRECTORY
tree() { python3 "$root/tests/image/random_layers.py" tree "$work/images/$1.json" "$3" >"$work/trees/$1.$2"; }

expressions=$(printf "(dockerTools.exportImage { fromImage = $work/images/%s.tar; }) " "${names[@]}")
mapfile -t exported < <(build "[ $expressions ]")
same "${#exported[@]}" "${#names[@]}"
for at in "${!names[@]}"; do tree "${names[at]}" strata "${exported[at]}"; done
same "$(wc -l <"$work/trees/0.strata" | xargs test 20 -lt && echo many)" many

# compare ENGINE NAME: expects the tree of strata, except for known differences.
compare() {
  case $1.$2 in
    # According to the specification, the lower files of a directory that is removed and made again are gone. In the
    # layer's directory of an overlay file system, the directory replaces the whiteout, and the files are visible again.
    *.whiteout-and-directory) same "$(grep -c 's0/d/[xyz]' "$work/trees/$2.$1")" 3 ;;
    *) diff -u "$work/trees/$2.strata" "$work/trees/$2.$1" || fail "$1 makes another tree of $2 (seed $seed)" ;;
  esac
}
same "$(grep -c 's0/d/[xyz]' "$work/trees/whiteout-and-directory.strata")" 1
# Docker and podman refuse a name through a link to a directory that the layer lacks; containerd makes the directory.
# containerd refuses a name two missing directories below a file of a lower layer (pkg/archive/tar.go, mkparent); docker
# and podman make them.
refuses() {
  case $1.$2 in
    docker20.dangling | podman.dangling | docker29.nested-parents | containerd.nested-parents) return 0 ;;
    *) return 1 ;;
  esac
}

with_docker() {
  local engine=$1 name container
  for name in "${names[@]}"; do
    # Docker 29 unpacks the image for the first container.
    if ! { docker load --quiet <"$work/images/$name.tar" >/dev/null && container=$(docker create "overlay-$name:t"); } \
      2>"$work/log"; then
      refuses "$engine" "$name" || { cat "$work/log"; fail "$engine refuses $name (seed $seed)"; }
      continue
    fi
    docker export "$container" >"$work/exported.tar"
    docker rm "$container" >/dev/null
    docker rmi "overlay-$name:t" >/dev/null
    tree "$name" "$engine" "$work/exported.tar"
    compare "$engine" "$name"
  done
}
if [[ ${docker-} ]]; then with_docker docker20; fi

if ((EUID == 0)) && command -v podman >/dev/null; then
  use_podman "$work/podman"
  trap 'podman image unmount --all >/dev/null; stop_engines' EXIT
  for name in "${names[@]}"; do
    if ! podman load --quiet <"$work/images/$name.tar" >/dev/null 2>"$work/log"; then
      refuses podman "$name" || { cat "$work/log"; fail "podman refuses $name (seed $seed)"; }
      continue
    fi
    tree "$name" podman "$(podman image mount "localhost/overlay-$name:t")"
    podman image unmount "localhost/overlay-$name:t" >/dev/null
    compare podman "$name"
  done
  podman rmi --all --force >/dev/null
fi

need_engines
start_docker29 "$work/docker29" || fail "Docker 29 does not start"
with_docker docker29
stop_engine

start_containerd "$work/containerd" || fail "containerd does not start"
ctr() { "$engines/ctr" "$@" 2>"$work/log" || { cat "$work/log"; return 1; }; }
# chain_id ARCHIVE: the name of its highest snapshot. (image-spec, config.md, "Layer ChainID")
chain_id() {
  tar -xOf "$1" config.json | python3 -c '
import hashlib, json, sys
chain, *rest = json.load(sys.stdin)["rootfs"]["diff_ids"]
for one in rest: chain = "sha256:" + hashlib.sha256(f"{chain} {one}".encode()).hexdigest()
print(chain)'
}
mkdir "$work/mounted"
for name in "${names[@]}"; do
  if ! ctr images import --platform linux/amd64 --snapshotter overlayfs "$work/images/$name.tar" >/dev/null; then
    refuses containerd "$name" || fail "containerd refuses $name (seed $seed)"
    continue
  fi
  # The overlay of the layers, mounted as containerd does for a container.
  mounted=$(ctr snapshots --snapshotter overlayfs view --target "$work/mounted" "view-$name" "$(chain_id "$work/images/$name.tar")") ||
    fail "containerd has no snapshot of $name"
  eval "$mounted"
  tree "$name" containerd "$work/mounted"
  umount "$work/mounted"
  compare containerd "$name"
done
