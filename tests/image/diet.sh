# Reducing and limiting the size of an image: explain --cut, budget and checkBudget.
. "$root/tests/lib.sh"
need_command jq

# An application with an unneeded reference to a compiler, and the same application without it.
image() {
  build 'let
    part = name: size: needs: pkgs.runCommand name { inherit needs; } "head -c ${toString size} ${pkgs.glibc}/lib/x86_64-linux-gnu/libc.so.6 > $out; echo $needs >> $out";
    mpfr = part "mpfr-4.2" 200000 [ ];
    gcc = part "gcc-12.2.0" 700000 [ mpfr common ];
    common = part "common-1" 100000 [ ];
    app = pkgs.runCommand "app-1" { } '"''"'
      mkdir -p $out/bin $out/share
      printf 0123456789%s '"$1"' > $out/bin/app
      ln -s ${common} $out/share/common
    '"''"';
  in buildImage { name = "diet"; tag = "t"; config.Cmd = [ "${app}/bin/app" ]; '"${2-}"' }'
}
fat=$(image '${gcc}/bin/gcc')
gcc=$(jq -r '.closure[].path | select(endswith("-gcc-12.2.0"))' "$fat")
app=$(jq -r '.closure[].path | select(endswith("-app-1"))' "$fat")
# The same number of bytes without a reference.
thin=$(image "/nix/store/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee-gcc-12.2.0/bin/gcc")

# The output has file, offset, size, and the package that refers to the path. The size equals the saved bytes.
"$strata" explain "$fat" --cut --json | jq '.cuts[0]' >"$work/cut"
same "$(jq -r .from "$work/cut") $(jq -r .to "$work/cut")" "$app $gcc"
same "$(jq -c .places "$work/cut")" "[{\"file\":\"$app/bin/app\",\"offset\":21}]"
same "$(tail -c +22 "$app/bin/app" | head -c 32)" "$(basename "$gcc" | head -c 32)"
same "$(jq -c '[.paths[] | sub("[^-]*-"; "")]' "$work/cut")" "$(jq -c '[.closure[].path | select(endswith("-gcc-12.2.0") or endswith("-mpfr-4.2")) | sub("[^-]*-"; "")]' "$fat")"
closure_size() { jq '[.closure[].narSize] | add' "$1"; }
same "$(jq .saves "$work/cut")" "$(($(closure_size "$fat") - $(closure_size "$thin")))"
same "$(jq -c '[.chain[] | sub("[^-]*-"; "")]' "$work/cut")" '["app-1"]'
"$strata" explain "$fat" --cut >"$work/table"
grep -qF "    in $app/bin/app at byte 21" "$work/table" || { cat "$work/table"; fail "no file and offset"; }
# Paths that a layer requests stay. A link is a reference too.
"$strata" explain "$thin" --cut --json | jq -c '.cuts[0]' >"$work/cut"
same "$(jq -c '.places[] | [(.file | sub(".*-app-1"; "")), .offset]' "$work/cut")" '["/share/common",null]'
asked=$(image '${gcc}/bin/gcc' 'layers = [ (buildLayer { deps = [ gcc ]; }) ];')
same "$("$strata" explain "$asked" --cut --json | jq -c '[.cuts[].to | sub("[^-]*-"; "")] | index("gcc-12.2.0")')" null
same "$("$strata" explain "$asked" --why gcc)" "$gcc"
# Images without known references are refused.
"$strata" copy "$fat" "oci:$work/layout:t" --quiet >/dev/null
status=0; "$strata" explain "$work/layout" --cut 2>"$work/log" || status=$?
same "$status" 2
grep -q 'does not say what its store paths reference' "$work/log" || fail "the message about an image without references is missing"
# The HTML page shows the same.
"$strata" explain "$fat" --html - >"$work/page.html"
grep -qF "\"offset\":21" "$work/page.html" || fail "the page lacks the dependency to cut"

# A budget is written, met, exceeded and accepted.
budget=$work/budget.json
status=0; "$strata" budget "$thin" "$budget" 2>"$work/log" || status=$?
same "$status" 2
grep -q -- '--update creates it' "$work/log" || { cat "$work/log"; fail "no way out"; }
"$strata" budget "$thin" "$budget" --update
same "$(jq -c '.images | keys' "$budget")" '["diet"]'
same "$(jq '[.images.diet.packages[]] | add' "$budget")" "$(closure_size "$thin")"
same "$(jq .images.diet.size "$budget")" "$(jq '[.layers[].size] | add' "$thin")"
"$strata" budget "$thin" "$budget" | grep -q '^diet: [0-9.]* [kMG]*B, within its budget of'
status=0; "$strata" budget "$fat" "$budget" >"$work/out" || status=$?
same "$status" 1
for line in '^diet: the image has [0-9.]* [kMG]*B, [0-9.]* [kMG]*B more than [0-9.]* [kMG]*B$' '^diet: gcc is new, [0-9.]* [kMG]*B$' '^diet: mpfr is new, '; do
  grep -q "$line" "$work/out" || { cat "$work/out"; fail "no line $line"; }
done
cp "$budget" "$work/thin.json"
"$strata" budget "$fat" "$budget" --update
"$strata" budget "$fat" "$budget" >/dev/null
"$strata" budget "$thin" "$budget" >/dev/null
# The size of the whole image is checked for all kinds of images.
"$strata" budget "$work/layout" "$work/other.json" --update
same "$(jq -c '.images[] | keys' "$work/other.json")" '["size"]'
echo '{ "images": { "diet": { "sizes": 1 } } }' >"$work/wrong.json"
status=0; "$strata" budget "$fat" "$work/wrong.json" 2>"$work/log" || status=$?
same "$status" 2
grep -q 'unknown field `sizes`' "$work/log" || { cat "$work/log"; fail "a mistake in a budget is not named"; }

# checkBudget in a flake.
expression='buildImage { name = "small"; config.Cmd = [ "${pkgs.glibc}/lib" ]; }'
"$strata" budget "$(build "$expression")" "$work/small.json" --update
build "checkBudget { image = $expression; budget = $work/small.json; }" >/dev/null
sed -i 's/"size": [0-9]*/"size": 1000/' "$work/small.json"
build_fails "checkBudget { image = $expression; budget = $work/small.json; }" 'small exceeds its budget:' 'the image has' 'more than 1.0 kB' 'strata explain --cut'
build_fails "checkBudget { image = $expression; budget = $work/thin.json; }" 'argument budget has no entry for small'
