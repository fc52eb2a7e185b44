# go-containerregistry's command line pushes layouts of strata, pulls from strata serve, and validates both.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command go
from_go github.com/google/go-containerregistry/cmd/crane@v0.20.6 crane || exit 0
accepts() { crane "$@" >"$work/log" 2>&1 || { cat "$work/log"; fail "crane $*"; }; }

start_registry "$work/registry"
trap 'stop_registry' EXIT
# As documented for the ociImage* functions, crane pushes the directory.
layout=$(build "import $root/examples/nginx-layout.nix { inherit pkgs strata; }")
accepts push "$layout" "$registry/nginx:latest" --insecure
# crane takes every layer for gzip in its validation: an image of gzip layers is validated completely, and this one
# except for its layers.
accepts validate --insecure --fast --remote "$registry/nginx:latest"
"$strata" copy "$layout" "docker://$registry/by-strata:latest" --quiet >/dev/null
"$strata" diff "docker://$registry/nginx:latest" "docker://$registry/by-strata:latest" >/dev/null || fail "crane and strata push different images"
gzip=$(build 'ociImageLayout { manifests = [ (ociImageManifest {
  layers = [ (ociLayerTar { files = [ { source = pkgs.hello; destination = "/"; } { source = pkgs.jq; } ]; }) ]; }) ]; }')
accepts push "$gzip" "$registry/gzip:latest" --insecure
accepts validate --insecure --remote "$registry/gzip:latest"
# An index in the form of buildx keeps its digest through crane: to another name, into a layout, and back.
index=$(python3 "$root/tests/image/buildx.py" "$work/buildx")
"$strata" copy --all "oci:$work/buildx:v1" "docker://$registry/index:by_strata" --quiet >/dev/null
accepts copy --insecure "$registry/index:by_strata" "$registry/copied:by_crane"
same "$("$strata" copy --all "docker://$registry/copied:by_crane" "oci:$work/back:v1" --quiet)" "$index"
accepts pull --insecure --format oci "$registry/index:by_strata" "$work/pulled"
same "$("$strata" copy --all "oci:$work/pulled" "oci:$work/again:v1" --quiet)" "$index"
"$strata" verify "$work/again" | grep -q ' 0 problems$' || fail "verify finds problems in the image that crane pulled"
# zstd:chunked layers are ordinary zstd for crane: the unpacked files are those of gzip layers.
image=$(build 'buildImage { name = "served"; tag = "t"; maxLayers = 3; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
for compression in gzip zstd:chunked; do
  "$strata" copy --compression "$compression" "$image" "docker://$registry/packed:${compression#*:}" --quiet >/dev/null
  accepts copy --insecure "$registry/packed:${compression#*:}" "$registry/packed:by-crane"
  accepts export --insecure "$registry/packed:by-crane" "$work/${compression#*:}.tar"
done
[[ $(tar -tf "$work/chunked.tar" | wc -l) -gt 10 ]] || fail "crane exports nothing"
cmp "$work/gzip.tar" "$work/chunked.tar" || fail "crane unpacks other files from zstd:chunked layers"
stop_registry

platforms=$(build 'let image = architecture: ociImageManifest { extraConfig = { inherit architecture; };
    layers = [ (ociLayerTar { files = [ { source = pkgs.hello; destination = "/"; } ]; }) ]; };
  in ociImageLayout { manifests = [ (image "amd64") (image "arm64") ]; }')
start_server "$image" "deep/name/platforms:all=$platforms"
trap 'kill "$server"; wait "$server"' EXIT
accepts pull --insecure "$host/served:t" "$work/crane.tar"
accepts validate --insecure --fast --remote "$host/served:t"
accepts validate --insecure --remote "$host/deep/name/platforms:all"
