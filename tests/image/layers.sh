# copyToRoot, perms, nested layers, maxLayers and names, seen in the bytes.
. "$root/tests/lib.sh"
need_command jq

image=$(build '
  let
    one = buildLayer { deps = [ pkgs.bash ]; };
    two = buildLayer { deps = [ pkgs.hello ]; layers = [ one ]; };
    etc = pkgs.writeTextDir "etc/secret" "x";
  in buildImage {
    name = "Registry.example.com/Some/Name";
    tag = "Tag";
    layers = [ two ];
    copyToRoot = [ etc (pkgs.writeTextDir "etc/other" "y") ];
    perms = [ { path = etc; regex = "/etc/secret$"; mode = "0600"; uid = 1000; gid = 100; uname = "me"; gname = "us"; } ];
    config.Cmd = [ "${pkgs.coreutils}/bin/ls" "-ln" "/etc" ];
    maxLayers = 3;
  }')
json=$("$strata" inspect --json "$image")
same "$(jq -r '.[0].reference' <<<"$json")" registry.example.com/some/name:Tag
same "$(jq '.[0].layers | length' <<<"$json")" 5
same "$(jq -r '[.[0].layers[].paths[]] | length' <<<"$json")" "$(jq -r '[.[0].layers[].paths[]] | unique | length' <<<"$json")"

"$strata" stream "$image" | tar -x -C "$work"
last=$(jq -r '.[0].Layers[-1]' "$work/manifest.json")
tar -tvf "$work/$last" --numeric-owner -P >"$work/listing"
grep -qE '^-rw------- 1000/100 +1 1970-01-01 00:00 /etc/secret$' "$work/listing" || { cat "$work/listing"; fail "perms"; }
grep -qE '^-r--r--r-- 0/0 +1 1970-01-01 00:00 /etc/other$' "$work/listing" || { cat "$work/listing"; fail "copyToRoot"; }
same "$(sed -n 's/.* //p' "$work/listing" | head -n 1)" /

untagged=$(build 'buildImage { name = "untagged"; }')
same "$("$strata" inspect --json "$untagged" | jq -r '.[0].reference')" "untagged:$(basename "$untagged" | cut -c 1-32)"
same "$(nix-instantiate --eval --expr "$(expression '(buildImage { name = "untagged"; }).imageTag')")" \
  "\"$(basename "$untagged" | cut -c 1-32)\""

# nix2container's first names: the same image, to the store path.
old=$(build 'buildImage { name = "old"; contents = [ pkgs.hello ]; isolatedDeps = [ (buildLayer { deps = [ pkgs.bash ]; }) ]; }')
same "$old" "$(build 'buildImage { name = "old"; copyToRoot = pkgs.hello; layers = [ (buildLayer { deps = [ pkgs.bash ]; }) ]; }')"
same "$(build '(buildImage { name = "old"; }).pushToDockerDeamon')" "$(build '(buildImage { name = "old"; }).copyToDockerDaemon')"

# A chain of thirteen layers, each below the next, costs thirteen.
chain=$(build '
  let chain = n: if n == 0 then [ ] else let below = chain (n - 1); in below ++ [ (buildLayer {
    deps = [ (pkgs.writeText "link-${toString n}" "${toString n}") ]; layers = below; }) ];
  in buildImage { name = "chain"; layers = chain 13; }')
same "$("$strata" inspect --json "$chain" | jq '.[0].layers | length')" 13

# layersFile: the layers as its lists have them.
hello=$(build pkgs.hello)
nix-store -qR "$hello" | grep -v -- "$hello" | jq -R . | jq -s --arg hello "$hello" '[[$hello], .]' >"$work/split.json"
made="buildLayer { deps = [ pkgs.hello ]; layersFile = $work/split.json; }"
same "$(jq -c '[.[].paths | map(.path)] | map(sort)' "$(build "$made")/layers.json")" "$(jq -c 'map(sort)' "$work/split.json")"
# What a layer below holds is left to it.
same "$(jq -c '[.[].paths[].path] | contains(["'"$hello"'"])' "$(build "buildLayer { deps = [ pkgs.hello ]; layersFile = $work/split.json; layers = [ (buildLayer { deps = [ pkgs.hello ]; }) ]; }")/layers.json")" false
split_fails() {
  jq "$1" "$work/split.json" >"$work/wrong.json"
  build_fails "buildLayer { deps = [ pkgs.hello ]; layersFile = $work/wrong.json; }" "argument layersFile: " "$2"
}
split_fails '[[.[0][0], .[0][0]], .[1]]' "list 1 has $hello, which is listed already"
split_fails '[.[0], .[1], []]' "list 3 of"
split_fails '[.[1]]' "has $hello, which is in the closure"
split_fails "[[\"$(build pkgs.jq)\"]] + ." "which is not in the closure"
split_fails '.[0]' "is not a list of lists of store paths"
build_fails 'buildLayer { layersFile = "split.json"; }' "argument layersFile of buildLayer must be a JSON file of lists of store paths, not a string"
