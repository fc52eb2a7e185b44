# examples/go-service.nix: a service for two platforms, compiled on one machine, as one image. The packages of the tests lack Go, so it
# is the machine's.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command go
need_command jq
need_command docker-registry
export XDG_CACHE_HOME=$work/cache
example='(import '"$root"'/examples/go-service.nix {
  inherit strata;
  pkgs = pkgs // {
    go = builtins.path {
      name = "go";
      path = '"$(go env GOROOT)"';
      filter = path: type: !builtins.elem path (map (name: '"\"$(go env GOROOT)\""' + "/${name}") [ "api" "doc" "misc" "test" ]);
    };
  };
})'
index=$(build "$example")
build "$example.tests.service" >/dev/null

start_registry "$work/registry"
trap 'stop_registry' EXIT
"$strata" copy --quiet --all "$index" "docker://$registry/service:latest" >/dev/null
"$strata" verify "docker://$registry/service:latest" --tls-verify=false >"$work/out" || { cat "$work/out"; fail "verify finds problems"; }
"$strata" copy --quiet --all "docker://$registry/service:latest" "oci:$work/layout:t" --src-tls-verify=false >/dev/null
blob() { cat "$work/layout/blobs/${1/://}"; }
blob "$(jq -r '.manifests[0].digest' "$work/layout/index.json")" >"$work/index"
same "$(jq -r '[.manifests[].platform | "\(.os)/\(.architecture)"] | sort | join(" ")' "$work/index")" "linux/amd64 linux/arm64"
# Each program is for its platform: e_machine of the ELF header is 62 or 183.
for pair in amd64=62 arm64=183; do
  manifest=$(jq -r --arg architecture "${pair%=*}" '.manifests[] | select(.platform.architecture == $architecture).digest' "$work/index")
  mapfile -t layers < <(blob "$manifest" | jq -r '.layers[].digest')
  for layer in "${layers[@]}"; do blob "$layer" | gzip -dc | tar -xO --wildcards '*/bin/service' 2>/dev/null || true; done >"$work/service"
  same "$(od -An -t u2 -j 18 -N 2 "$work/service" | tr -d ' ')" "${pair#*=}"
done
