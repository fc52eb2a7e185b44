# Docker before 23 reads no zstd layers: archives for docker hold them uncompressed, whatever the image is made of (moby issue
# 41759, containers/image issue 1260).
. "$root/tests/lib.sh"
need_command jq
[[ ${docker-} ]] || skip "no docker daemon"

layout=$(build 'ociImageLayout { manifests = [ (ociImageManifest {
  layers = [ (ociLayerTar { files = [ { source = pkgs.busybox; destination = "/"; } ]; compression = "zstd"; }) ];
  extraConfig.config.Cmd = [ "/bin/busybox" "echo" "base" ]; }) ]; }')
"$strata" copy "oci:$layout" "oci-archive:$work/zstd.tar:base:t" --quiet >/dev/null
same "$("$strata" inspect "$work/zstd.tar" --json | jq -r '.[0].layers[].media_type')" application/vnd.oci.image.layer.v1.tar+zstd

# loads_and_says WORD NAME…: docker loads the archive on standard input, and each of the images says the word.
loads_and_says() {
  local name
  docker load --quiet >"$work/log" 2>&1 || { cat "$work/log"; fail "docker does not load ${*:2}"; }
  for name in "${@:2}"; do
    same "$(run "$name")" "$1"
    docker rmi "$name" >/dev/null
  done
}
"$strata" stream "$work/zstd.tar" | loads_and_says base base:t
"$strata" copy "$work/zstd.tar" "docker-archive:$work/copied.tar:copied:t" --quiet >/dev/null
loads_and_says base copied:t <"$work/copied.tar"
"$strata" copy "$work/zstd.tar" docker-daemon:sent:t --quiet >/dev/null
same "$(run sent:t)" base
docker rmi sent:t >/dev/null

# As a base of an archive in the store, of a stream and of a recipe; and merged.
on_base="{ name = \"above\"; tag = \"t\"; fromImage = $work/zstd.tar; config.Cmd = [ \"/bin/busybox\" \"echo\" \"above\" ]; }"
loads_and_says above above:t <"$(build "dockerTools.buildLayeredImage $on_base")"
"$(build "dockerTools.streamLayeredImage $on_base")" | loads_and_says above above:t
"$strata" stream "$(build "buildImage $on_base")" | loads_and_says above above:t
loads_and_says base base:t other:t <"$(build "dockerTools.mergeImages [ $work/zstd.tar
  (dockerTools.buildImage { name = \"other\"; tag = \"t\"; fromImage = $work/zstd.tar; config.Cmd = [ \"/bin/busybox\" \"echo\" \"base\" ]; }) ]")"
