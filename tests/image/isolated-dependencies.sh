# nix2container's examples basic and "isolate dependencies": a changed script changes only the last layer.
. "$root/tests/lib.sh"
use_nix2container
need_command jq

basic=$(build 'buildImage { name = "basic"; config.entrypoint = [ "${pkgs.hello}/bin/hello" ]; }')
same "$("$strata" inspect --json "$basic" | jq '.[0].layers | length')" 1
if [[ ${docker-} ]]; then
  reference=$("$strata" stream "$basic" | load)
  same "$(run "$reference")" "Hello, world!"
  docker rmi "$reference" >/dev/null
fi

isolated() {
  echo '
    let application = pkgs.writeScript "conversation" "#!${pkgs.bash}/bin/bash\necho '"$1"'\n${pkgs.hello}/bin/hello\n";
    in buildImage {
      name = "isolated";
      tag = "latest";
      config.entrypoint = [ "${application}" ];
      layers = [ (buildLayer { deps = [ pkgs.bash pkgs.hello ]; }) ];
    }'
}
# A chain of 30 layers, each on top of the previous one (nix2container#186, #205): their common store path is only in
# the lowest.
chain=$(build '
  let chain = builtins.foldl'"'"' (below: at: buildLayer { deps = [ pkgs.bash (pkgs.writeText "link-${toString at}" "${toString at}") ]; layers = [ below ]; })
    (buildLayer { deps = [ pkgs.bash ]; }) (builtins.genList (at: at) 30);
  in buildImage { name = "chain"; layers = [ chain ]; config.Cmd = [ "${pkgs.bash}/bin/bash" ]; }'"")
same "$("$strata" inspect --json "$chain" | jq '.[0].layers | length')" 31
same "$("$strata" inspect --json "$chain" | jq '[.[0].layers[].paths[] | select(contains("-bash-"))] | length')" 1
same "$("$strata" inspect --json "$chain" | jq -r '[.[0].layers[1:][].paths[] | sub(".*-link-"; "")] | join(" ")')" "$(seq -s ' ' 0 29)"
first=$(build "$(isolated Haaallo)")
second=$(build "$(isolated Hello)")
layers() { "$strata" inspect --json "$1" | jq -r '.[0].layers[].digest'; }
same "$(layers "$first" | wc -l)" 2
same "$(layers "$first" | sed -n 1p)" "$(layers "$second" | sed -n 1p)"
[[ $(layers "$first" | sed -n 2p) != "$(layers "$second" | sed -n 2p)" ]] || fail "the script changed, its layer did not"
paths() { "$strata" inspect --json "$first" | jq -r ".[0].layers[$1].paths[]"; }
same "$(paths 1 | wc -l)" 1
[[ $(paths 1) == *-conversation ]] || fail "the second layer holds $(paths 1)"
for name in bash hello glibc; do paths 0 | grep -q -- "-$name" || fail "the first layer lacks $name"; done
if [[ ${docker-} ]]; then
  same "$("$strata" stream "$second" | load)" isolated:latest
  same "$(run isolated | tr '\n' ' ')" "Hello Hello, world! "
  docker rmi isolated >/dev/null
fi

# The store has no tar, and the image keeps its store paths alive.
same "$(find "$first" -type f -size +64k | wc -l)" 0
nix-store -q --references "$first" | grep -q -- -hello || fail "the recipe does not refer to hello"
