# explain, diff, plan, and the guards: what an image says of itself is what happens.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
need_command docker-registry
export XDG_CACHE_HOME=$work/cache

# An application over libraries of some size, of which one lies near the bottom.
image() {
  local lib=$1 app=$2 more=${3-}
  build "let
      part = name: size: needs: pkgs.runCommand name { inherit needs; } ''mkdir -p \$out; head -c \${toString size} \${pkgs.glibc}/lib/x86_64-linux-gnu/libc.so.6 > \$out/data
        echo \${name} \$needs >> \$out/data'';
      bottom = part \"libbottom-$lib\" 300000 [ ];
      other = part \"libother-1\" 500000 [ ];
      middle = map (number: part \"libmiddle\${toString number}-1\" (100000 * number) (if number > 4 then [ bottom ] else [ other ])) [ 1 2 3 4 5 6 7 8 ];
      app = part \"app-$app\" 40000 (middle ++ [ pkgs.hello ]);
    in buildImage { name = \"update\"; tag = \"t\"; maxLayers = 5; config.Cmd = [ \"\${pkgs.hello}/bin/hello\" \"\${app}\" ]; $more }"
}
# differ OLD NEW [OPTIONS…]: what diff says of two images that are not the same.
differ() {
  local status=0
  "$strata" diff "$@" || status=$?
  same "$status" 1
}
start_registry "$work/registry"
trap 'stop_registry' EXIT
sent=()
for layering in popularity auto transfer; do
  one=$(image 1 1 "layering = \"$layering\";")
  library=$(image 2 1 "layering = \"$layering\";")
  application=$(image 1 2 "layering = \"$layering\";")
  for compression in none gzip; do
    rm -rf "$XDG_CACHE_HOME"
    "$strata" copy "$one" "docker://$registry/$layering-$compression:one" --compression "$compression" --quiet >/dev/null
    for changed in "$library" "$application"; do
      differ "$one" "$changed" --compression "$compression" --json >"$work/diff"
      "$strata" copy "$changed" "docker://$registry/$layering-$compression:new" --cache-from one --compression "$compression" --json \
        2>"$work/events" >/dev/null
      same "$(jq -c 'select(.event == "pushed") | [.blobs, .bytes]' "$work/events")" "$(jq -c '[.push.blobs, .push.bytes]' "$work/diff")"
    done
  done
  [[ $layering != transfer ]] || differ "$one" "$library" >"$work/table"
  differ "$one" "$library" --compression none --json >"$work/diff"
  sent+=("$(jq .push.bytes "$work/diff")")
done
# Planning for updates pays.
((sent[2] <= sent[0] && sent[2] <= sent[1])) || fail "transfer sends ${sent[2]} bytes, the others ${sent[0]} and ${sent[1]}"
grep -q '^~ libbottom-1 -> libbottom-2$' "$work/table" || { cat "$work/table"; fail "the change is not told"; }
grep -q '^paths: 6 changed, 0 added, 0 removed' "$work/table" || { cat "$work/table"; fail "the counts are not right"; }
if [[ ${docker-} ]]; then
  "$strata" copy "$one" docker-daemon: --quiet >/dev/null
  "$strata" copy "$application" docker-daemon: --json 2>"$work/events" >/dev/null
  same "$(jq -c '[.layersThere, .bytes]' "$work/events")" "$("$strata" diff "$one" "$application" --json | jq -c '[.load.layersThere, .load.bytes]')"
  docker rmi update:t >/dev/null
fi
# Any two kinds compare; the same image is the same whatever it lies in.
"$strata" copy "$one" "oci:$work/layout:t" --quiet >/dev/null
"$strata" copy "$one" "docker-archive:$work/archive.tar" --quiet >/dev/null
for other in "$work/layout" "$work/archive.tar" "docker://$registry/transfer-none:one"; do
  "$strata" diff "$one" "$other" >"$work/out" || { cat "$work/out"; fail "$other is said to differ"; }
done
status=0; "$strata" diff "$one" "$work/nothing" 2>/dev/null || status=$?
same "$status" 2
labelled=$(image 1 1 'layering = "transfer"; labels.a = "b";')
differ "$one" "$labelled" --json >"$work/diff"
same "$(jq -c .config "$work/diff")" '[{"key":"config.Labels","old":null,"new":{"a":"b"}}]'

# explain: costs, reasons, and a page.
"$strata" explain "$one" >"$work/table"
grep -q 'an update sends on average' "$work/table" || { cat "$work/table"; fail "no costs"; }
"$strata" explain "$one" --json >"$work/json"
same "$(jq '([.layers[].size] | add) == .size' "$work/json")" true
same "$(jq '.cost.floor <= .cost.expected and .cost.expected <= .cost.chained' "$work/json")" true
same "$("$strata" explain "$one" --why libbottom | sed 's/[^ ]*-lib/lib/; s/[^ ]*-app/app/; s/middle[5-8]/middle/' | tr -d ' \n')" "app-1└libmiddle-1└libbottom-1"
status=0; "$strata" explain "$one" --why nothing 2>"$work/log" || status=$?
same "$status" 1
grep -q 'has no store path nothing' "$work/log" || fail "what is missing is not said"
"$strata" explain "$one" --html "$work/page.html"
grep -q 'libbottom-1' "$work/page.html" || fail "the page has no paths"
if grep -nE '(src|href)="?https?:|@import|fetch\(' "$work/page.html"; then fail "the page is not self-contained"; fi
"$strata" explain "$work/layout" >/dev/null

# plan: the same numbers without building; weights and history.
"$strata" plan "$one" --max-layers 5 --strategy transfer --json >"$work/plan"
same "$(jq '.strategies[0].layers' "$work/plan")" 5
nix path-info --recursive --json "$(build pkgs.jq)" >"$work/closure"
"$strata" plan "$work/closure" --max-layers 4 --simulate 1000 >"$work/table"
same "$(wc -l <"$work/table")" 5
same "$("$strata" plan "$library" --history "$one" --print-weights | jq -c .names)" '{"libbottom*":11}'
"$strata" plan "$library" --history "$one" >/dev/null

# previous: what did not change stays where it was.
before=$(image 1 1 'layering = "transfer";')
after=$(image 1 2 "layering = \"transfer\"; previous = $before;")
kept=$(jq -s '[.[0].layers[].digest] - [.[1].layers[].digest] | length' "$before" "$after")
same "$kept" 1

# Guards name who brought the offender in.
build_fails 'buildImage { name = "x"; maxLayers = 3; forbiddenPaths = [ "glibc*" ]; config.Cmd = [ "${pkgs.jq}/bin/jq" ]; }' \
  'argument forbiddenPaths: "glibc*" is in the image:' "└ $(build pkgs.jq)" "└ $(build pkgs.glibc)"
build_fails 'buildImage { name = "x"; maxSize = 1000000; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }' "argument maxSize: the image has" "$(build pkgs.glibc)"
build_fails 'makeContainerImage { maxLayerSize = 1000000; layers = [ pkgs.hello ]; }' "argument maxLayerSize: layer " "$(build pkgs.glibc)"
build 'buildImage { name = "x"; maxSize = 100000000; maxLayerSize = 90000000; forbiddenPaths = [ "gcc*" ]; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }' >/dev/null
