# explain, diff, plan, and the guards: their statements about an image are correct.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
need_command docker-registry
export XDG_CACHE_HOME=$work/cache

# An application with libraries of different sizes, one of which is needed by most.
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
# differ OLD NEW [OPTIONS…]: prints the output of diff for two different images.
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
# The strategy `transfer` reduces the size of updates.
((sent[2] <= sent[0] && sent[2] <= sent[1])) || fail "transfer sends ${sent[2]} bytes, the others ${sent[0]} and ${sent[1]}"
grep -q '^~ libbottom-1 -> libbottom-2$' "$work/table" || { cat "$work/table"; fail "the table lacks the change"; }
grep -q '^paths: 6 changed, 0 added, 0 removed' "$work/table" || { cat "$work/table"; fail "the counts are not right"; }
if [[ ${docker-} ]]; then
  "$strata" copy "$one" docker-daemon: --quiet >/dev/null
  "$strata" copy "$application" docker-daemon: --json 2>"$work/events" >/dev/null
  same "$(jq -c 'select(.event == "loaded") | [.layersPresent, .bytes]' "$work/events")" "$("$strata" diff "$one" "$application" --json | jq -c '[.load.layersPresent, .load.bytes]')"
  docker rmi update:t >/dev/null
fi
# All kinds of images can be compared, and equal images of different kinds are equal.
"$strata" copy "$one" "oci:$work/layout:t" --quiet >/dev/null
"$strata" copy "$one" "docker-archive:$work/archive.tar" --quiet >/dev/null
for other in "$work/layout" "$work/archive.tar" "docker://$registry/transfer-none:one"; do
  "$strata" diff "$one" "$other" >"$work/out" || { cat "$work/out"; fail "diff reports a difference of $other"; }
done
status=0; "$strata" diff "$one" "$work/nothing" 2>/dev/null || status=$?
same "$status" 2
labelled=$(image 1 1 'layering = "transfer"; labels.a = "b";')
differ "$one" "$labelled" --json >"$work/diff"
same "$(jq -c .config "$work/diff")" '[{"key":"config.Labels","old":null,"new":{"a":"b"}}]'

# Rebuilt paths are distinguished by their hashes. A reader of one line gets one line, without an error.
rebuild() { build 'buildImage { name = "update"; config.Cmd = [ "${pkgs.runCommand "app-1" { } "echo '"$1"' > $out"}" ]; }'; }
rebuilt=$(rebuild 1)
again=$(rebuild 2)
differ "$rebuilt" "$again" >"$work/table"
grep -qE '^~ app-1 rebuilt, [0-9a-z]{8} -> [0-9a-z]{8}$' "$work/table" || { cat "$work/table"; fail "a rebuild does not show both hashes"; }
(set +o pipefail; "$strata" diff "$one" "$library" 2>"$work/log" | head -1 >/dev/null)
silent cat "$work/log"
# A pipe without a reader causes no error either, and the exit code is that of a difference.
python3 - "$strata" "$one" "$library" <<'PYTHON'
import os, subprocess, sys
read, write = os.pipe()
os.close(read)
done = subprocess.run([sys.argv[1], "diff", *sys.argv[2:]], stdout=write, stderr=subprocess.PIPE)
assert (done.returncode, done.stderr) == (1, b""), done
# stream and copy write no archive to a terminal.
for command in (["stream", sys.argv[2]], ["copy", sys.argv[2], "docker-archive:-"]):
    main, terminal = os.openpty()
    done = subprocess.run([sys.argv[1], *command], stdout=terminal, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "an archive is not written to a terminal; pipe it" in done.stderr, done
    os.close(terminal)
    try:
        assert os.read(main, 1) == b"", "something was written"
    except OSError:
        pass
PYTHON

# copy --json prints an event for every destination.
for destination in "oci:$work/copied" "dir:$work/copied-dir" "docker-archive:$work/copied.tar" "docker://$registry/copied:t"; do
  "$strata" copy "$one" "$destination" --json 2>"$work/events" >"$work/digest"
  same "$(jq -r 'select(.event == "copied" or .event == "pushed") | .digest' "$work/events")" "$(<"$work/digest")"
done

# explain: costs, reasons, and a page.
"$strata" explain "$one" >"$work/table"
grep -q 'an update sends on average' "$work/table" || { cat "$work/table"; fail "no costs"; }
"$strata" explain "$one" --json >"$work/json"
same "$(jq '([.layers[].size] | add) == .size' "$work/json")" true
same "$(jq '.cost.floor <= .cost.expected and .cost.expected <= .cost.chained' "$work/json")" true
same "$("$strata" explain "$one" --why libbottom | sed 's/[^ ]*-lib/lib/; s/[^ ]*-app/app/; s/middle[5-8]/middle/' | tr -d ' \n')" "app-1└libmiddle-1└libbottom-1"
status=0; "$strata" explain "$one" --why nothing 2>"$work/log" || status=$?
same "$status" 2
grep -q 'has no store path nothing' "$work/log" || fail "the error does not name the missing path"
bottom=$("$strata" explain "$one" --why libbottom | sed -n '$s/.*└ //p')
for what in libbottom-1 "$bottom" "$bottom/data" "${bottom#/nix/store/}"; do
  same "$("$strata" explain "$one" --why "$what" | tail -n 1)" "$("$strata" explain "$one" --why libbottom | tail -n 1)"
done
status=0; "$strata" explain "$one" --why libbotom 2>"$work/log" || status=$?
same "$status" 2
grep -q 'did you mean libbottom-1?' "$work/log" || { cat "$work/log"; fail "nothing near is suggested"; }
"$strata" explain "$one" --html "$work/page.html"
grep -q 'libbottom-1' "$work/page.html" || fail "the page has no paths"
"$strata" explain "$one" --html - | cmp - "$work/page.html"
lacks -nE '(src|href)="?https?:|@import|fetch\(' "$work/page.html"
# Unknown facts are reported as unknown.
"$strata" explain "$work/layout" >"$work/table"
grep -q '^what an update sends is unknown' "$work/table" || { cat "$work/table"; fail "an unknown cost is not reported"; }
same "$("$strata" explain "$work/layout" --json | jq -c '[.cost, .layers[0].expectedCost]')" '[null,null]'
# Archives, layouts and registries have their store paths in the history.
archive=$(build 'makeContainerImage { name = "history"; maxLayers = 4; layers = [ pkgs.hello ]; }')
"$strata" copy "$archive" "oci:$work/history:t" --quiet >/dev/null
"$strata" copy "$archive" "docker://$registry/history:t" --quiet >/dev/null
closure=$(nix-store -qR "$(build pkgs.hello)" | sort)
for where in "$archive" "oci:$work/history" "docker://$registry/history:t"; do
  same "$("$strata" explain "$where" --json | jq -r '.layers[].paths[].path' | sort)" "$closure"
  "$strata" explain "$where" >"$work/table"
  grep -q "glibc" "$work/table" || fail "no names of $where"
  lacks -q "store paths: \[" "$work/table"
done
# Every command reads the sources of copy.
for command in inspect explain verify; do "$strata" "$command" "docker://$registry/history:t" >/dev/null; done

# plan: the same numbers without building, weights, and history.
"$strata" plan "$one" --max-layers 5 --strategy transfer --json >"$work/plan"
same "$(jq '.strategies[0].layers' "$work/plan")" 5
nix path-info --recursive --json "$(build pkgs.jq)" >"$work/closure"
"$strata" plan "$work/closure" --max-layers 4 --simulate 1000 >"$work/table"
same "$(grep -cE '^(popularity|auto|transfer) ' "$work/table")" 3
# The output ends with the setting to use.
same "$(tail -n 1 "$work/table")" "  maxLayers = 4;"
tail -n 2 "$work/table" | grep -qE '^  layering = "(popularity|auto|transfer)";$' || { cat "$work/table"; fail "no layering to write"; }
same "$("$strata" plan "$library" --history "$one" --print-weights | jq -c .names)" '{"libbottom*":11}'
same "$("$strata" plan --history "$one" --history "$library" "$one" --print-weights | jq -c .names)" '{"libbottom*":21}'
# Nothing changed, although packages have several paths.
many=$(build 'buildImage { name = "many"; config.Cmd = map (n: "${pkgs.runCommand "part-${n}" { } "echo ${n} > $out"}") [ "1" "2" "3" ]; }')
same "$("$strata" plan --history "$many" "$many" --print-weights | jq -c .names)" '{}'
echo '{ "roots": 18446744073709551615, "names": { "*": 18446744073709551615 } }' >"$work/weights"
same "$("$strata" plan "$one" --weights "$work/weights")" "$("$strata" plan "$one")"

# previous: unchanged paths stay in their layers.
before=$(image 1 1 'layering = "transfer";')
after=$(image 1 2 "layering = \"transfer\"; previous = $before;")
kept=$(jq -s '[.[0].layers[].digest] - [.[1].layers[].digest] | length' "$before" "$after")
same "$kept" 1

# Guards show the chain of references to the offending path.
build_fails 'buildImage { name = "x"; maxLayers = 3; forbiddenPaths = [ "glibc*" ]; config.Cmd = [ "${pkgs.jq}/bin/jq" ]; }' \
  'argument forbiddenPaths: "glibc*" is in the image:' "└ $(build pkgs.jq)" "└ $(build pkgs.glibc)"
build_fails 'buildImage { name = "x"; maxSize = 1000000; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }' "argument maxSize: the image has" "$(build pkgs.glibc)"
build_fails 'makeContainerImage { maxLayerSize = 1000000; layers = [ pkgs.hello ]; }' "argument maxLayerSize: layer " "$(build pkgs.glibc)"
build 'buildImage { name = "x"; maxSize = 100000000; maxLayerSize = 90000000; forbiddenPaths = [ "gcc*" ]; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }' >/dev/null
