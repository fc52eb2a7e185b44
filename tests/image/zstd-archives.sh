# Docker before 23 does not support zstd layers, so archives for docker have uncompressed layers, from every kind of
# image (moby issue 41759, containers/image issue 1260).
. "$root/tests/lib.sh"
need_command jq
[[ ${docker-} ]] || skip "no docker daemon"

layout=$(build 'ociImageLayout { manifests = [ (ociImageManifest {
  layers = [ (ociLayerTar { files = [ { source = pkgs.busybox; destination = "/"; } ]; compression = "zstd"; }) ];
  extraConfig.config.Cmd = [ "/bin/busybox" "echo" "base" ]; }) ]; }')
"$strata" copy "oci:$layout" "oci-archive:$work/zstd.tar:base:t" --quiet >/dev/null
same "$("$strata" inspect "$work/zstd.tar" --json | jq -r '.[0].layers[].media_type')" application/vnd.oci.image.layer.v1.tar+zstd

# load_and_run WORD NAME…: loads the archive on standard input into docker, and expects that each of the images prints
# the word.
load_and_run() {
  local name
  docker load --quiet >"$work/log" 2>&1 || { cat "$work/log"; fail "docker does not load ${*:2}"; }
  for name in "${@:2}"; do
    same "$(run "$name")" "$1"
    docker rmi "$name" >/dev/null
  done
}
"$strata" stream "$work/zstd.tar" | load_and_run base base:t
"$strata" copy "$work/zstd.tar" "docker-archive:$work/copied.tar:copied:t" --quiet >/dev/null
load_and_run base copied:t <"$work/copied.tar"
"$strata" copy "$work/zstd.tar" docker-daemon:sent:t --quiet >/dev/null
same "$(run sent:t)" base
docker rmi sent:t >/dev/null

# They are bases of an archive in the store, of a stream and of a recipe, and can be merged with others.
on_base="{ name = \"above\"; tag = \"t\"; fromImage = $work/zstd.tar; config.Cmd = [ \"/bin/busybox\" \"echo\" \"above\" ]; }"
load_and_run above above:t <"$(build "dockerTools.buildLayeredImage $on_base")"
"$(build "dockerTools.streamLayeredImage $on_base")" | load_and_run above above:t
"$strata" stream "$(build "buildImage $on_base")" | load_and_run above above:t
load_and_run base base:t other:t <"$(build "dockerTools.mergeImages [ $work/zstd.tar
  (dockerTools.buildImage { name = \"other\"; tag = \"t\"; fromImage = $work/zstd.tar; config.Cmd = [ \"/bin/busybox\" \"echo\" \"base\" ]; }) ]")"
