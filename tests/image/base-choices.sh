# Base images that are refused: for another platform, one of several, and with more layers than docker loads.
. "$root/tests/lib.sh"
need_command python3
plain='buildImage { name = "base"; tag = "t"; arch = "arm64"; copyToRoot = [ pkgs.hello ]; }'
# archive NAME OS ARCHITECTURE LAYERS: an archive in the format of `docker save`.
archive() {
  python3 - "$work/$1.tar" "$@" <<'PYTHON'
import hashlib, io, json, sys, tarfile
path, name, system, architecture, count = sys.argv[1:]
layers = []
for at in range(int(count)):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(f"file{at}"))
    layers.append(layer.getvalue())
ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
config = {"architecture": architecture, "os": system, "rootfs": {"type": "layers", "diff_ids": ids}}
names = [f"{at}.layer" for at in range(len(layers))]
manifest = [{"Config": "config.json", "RepoTags": [f"{name}:t"], "Layers": names}]
with tarfile.open(path, "w") as archive:
    for file, data in [("config.json", json.dumps(config).encode()), ("manifest.json", json.dumps(manifest).encode()), *zip(names, layers)]:
        entry = tarfile.TarInfo(file)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
PYTHON
}

# BuildKit warns of such a base (InvalidBaseImagePlatform), whose containers start nowhere.
archive arm linux arm64 1
archive windows windows amd64 1
for base in "$work/arm.tar" "($plain)"; do
  build_fails "buildImage { name = \"x\"; arch = \"amd64\"; fromImage = $base; }" \
    "argument fromImage: " "it is for linux/arm64, but the image that is built on it is for linux/amd64" "allowOtherBasePlatform = true"
done
build_fails "makeContainerImage { name = \"x\"; architecture = \"amd64\"; fromImage = $work/arm.tar; }" "linux/arm64" "linux/amd64"
build_fails "buildImage { name = \"x\"; arch = \"amd64\"; fromImage = $work/windows.tar; }" "it is for windows/amd64, but the image"
build "buildImage { name = \"x\"; arch = \"amd64\"; fromImage = $work/arm.tar; allowOtherBasePlatform = true; }" >/dev/null
build "buildImage { name = \"x\"; arch = \"arm64\"; fromImage = $work/arm.tar; }" >/dev/null
# exportImage does not build on the image, so its number of layers is not limited.
build "dockerTools.exportImage { fromImage = $work/arm.tar; }" >/dev/null

# Arguments select one of several images.
archive one linux amd64 1
archive two linux amd64 2
merged="dockerTools.mergeImages [ $work/one.tar $work/two.tar ]"
build_fails "buildImage { name = \"x\"; arch = \"amd64\"; fromImage = $merged; }" "one:t, two:t" "fromImageName and fromImageTag choose one"
built=$(build "buildImage { name = \"x\"; arch = \"amd64\"; fromImage = $merged; fromImageName = \"two\"; fromImageTag = \"t\"; }")
same "$(jq '.layers | length' "$built")" 2

archive deep linux amd64 125
build "buildImage { name = \"x\"; arch = \"amd64\"; fromImage = $work/deep.tar; maxLayers = 1; copyToRoot = [ pkgs.hello ]; }" >/dev/null
grep -qF "warning: the image has 126 layers, 125 of them the base image's, and docker loads at most 125" "$work/log" ||
  { cat "$work/log"; fail "there is no warning of too many layers"; }
