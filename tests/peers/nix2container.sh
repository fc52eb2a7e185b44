# nix2container's program with the same closures: digests, sizes, order and media types of every layer are equal.
. "$root/tests/lib.sh"
use_nix2container
need_command go
need_command jq
export GOBIN=$work/bin
online go install github.com/nlewo/nix2container@20d3395 2>"$work/log" || skip "nix2container cannot be installed: $(tail -n 1 "$work/log" | tr -d '\t')"
for package in jq python3 nginx; do
  path=$(build "pkgs.$package")
  nix-store -qR "$path" | xargs nix path-info --json |
    jq '[(if type == "object" then to_entries | map(.value + { path: .key }) else . end)[] | { path, references }]' >"$work/graph"
  for layers in 1 3 20 100; do
    "$work/bin/nix2container" layers-from-reproducible-storepaths "$work/by_peer" "$work/graph" --max-layers "$layers" >"$work/log" 2>&1 ||
      { cat "$work/log"; fail "nix2container"; }
    by_strata=$(build "buildLayer { deps = [ pkgs.$package ]; maxLayers = $layers; }")
    same "$(jq -c '[.[] | [.digest, .size, .diff_ids, .mediatype, [.paths[].path]]]' "$by_strata/layers.json")" \
      "$(jq -c '[.[] | [.digest, .size, .diff_ids, .mediatype, [.paths[].path]]]' "$work/by_peer")"
  done
done
