# examples/nginx-layout.nix: its contents, and other tools that read it.
. "$root/tests/lib.sh"
need_command jq
layout=$(build "import $root/examples/nginx-layout.nix { inherit pkgs strata; }")
"$strata" verify "$layout" | grep -q ' 0 problems$' || fail "verify finds problems"
same "$(jq -r '.manifests[0].annotations["org.opencontainers.image.ref.name"]' "$layout/index.json")" latest
same "$(jq -c '.manifests[0].platform' "$layout/index.json")" '{"architecture":"amd64","os":"linux"}'
manifest=$layout/blobs/sha256/$(jq -r '.manifests[0].digest' "$layout/index.json" | cut -d : -f 2)
same "$(jq -r '.layers[].mediaType' "$manifest" | sed 's/.*layer.v1.//' | tr '\n' ' ')" "tar+gzip tar tar+zstd "
same "$(jq -r '.annotations["org.opencontainers.image.title"]' "$manifest")" nginx

podman=(podman --root "$work/containers" --runroot "$work/run" --runtime runc --storage-driver vfs)
"${podman[@]}" run --rm --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network none "oci:$layout:latest" \
  >"$work/out" 2>"$work/log" || { cat "$work/log"; fail "podman run"; }
same "$(head -n 1 "$work/out")" "starting with hello"
grep -q 'nginx version' "$work/log" "$work/out" || { cat "$work/log"; fail "nginx does not run"; }
"${podman[@]}" rmi --all --force >/dev/null
same "$(skopeo inspect --config "oci:$layout:latest" | jq -r '.config.Env[0]')" GREETING=hello
skopeo copy --quiet "oci:$layout:latest" "dir:$work/copied"

. "$root/tests/services.sh"
start_registry "$work/registry"
trap 'stop_registry' EXIT
# After a push, one manifest is pulled and run.
pushed=$("$strata" copy "$layout" "docker://$registry/by-strata:latest" --preserve-digests --quiet)
same "$pushed" "$(jq -r '.manifests[0].digest' "$layout/index.json")"
# This docker does not support zstd, but podman does.
"${podman[@]}" pull --quiet --tls-verify=false "docker://$registry/by-strata:latest" >/dev/null
"${podman[@]}" run --rm --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network none "$registry/by-strata:latest" 2>/dev/null |
  grep -q '^starting with hello$' || fail "the pushed image does not run"
"${podman[@]}" rmi --all --force >/dev/null

# Three platforms from one expression. Each pull selects its platform.
platforms=$(build 'ociImageIndex {
  packages = [ pkgs (pkgs // { stdenv.hostPlatform = { system = "aarch64-linux"; go.GOARCH = "arm64"; }; })
    (pkgs // { stdenv.hostPlatform = { system = "armv7l-linux"; go = { GOARCH = "arm"; GOARM = "7"; }; }; }) ];
  image = { pkgs, strata }: { layers = [ (strata.buildLayer { deps = [ pkgs.hello ]; }) ]; extraConfig.config.Cmd = [ strata.platform.architecture ]; }; }')
same "$(jq -c '[.manifests[].platform | [.architecture, .variant]]' "$platforms/index.json")" '[["amd64",null],["arm64",null],["arm","v7"]]'
"$strata" copy "$platforms" "docker://$registry/platforms:all" --all --quiet >/dev/null
for platform in linux/amd64 linux/arm64 linux/arm/v7; do
  architecture=$(cut -d / -f 2 <<<"$platform")
  "$strata" pull "$registry/platforms:all" "$work/pulled-$architecture" --platform "$platform" >/dev/null
  same "$("$strata" inspect "$work/pulled-$architecture" --config | jq -r '.config.Cmd[0]')" "$architecture"
done
same "$(skopeo inspect --config --tls-verify=false --override-arch arm64 "docker://$registry/platforms:all" | jq -r '.config.Cmd[0]')" arm64
