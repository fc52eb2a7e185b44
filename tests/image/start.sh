# explain --start lists what a run opens until its first output, and separateStart gives these store paths layers of their own.
. "$root/tests/lib.sh"
need_command jq
need_command strace
need_command cc

# A script with PATH -> a script with commands and a file -> a program -> libraries. The image also has a package that the start does
# not need.
packages='
  filter = pkgs.writeText "filter.jq" "6 * 7\n";
  calculate = pkgs.writeShellScript "calculate" "sleep 0\nexec jq -n -f ${filter}\n";
  start = pkgs.writeShellScriptBin "start" "export PATH=${pkgs.coreutils}/bin:$PATH\nexec ${calculate} \"$@\"\n";'
start=$(build "let $packages in start")
# The texts of a program of makeBinaryWrapper, in a static program, since the image has no dynamic linker of the host.
mkdir "$work/wrapper"
cat >"$work/wrapper.c" <<C
#include <unistd.h>
const char *volatile text = "\n\n\n# -----\n\n\nmakeCWrapper '$start/bin/start' \\\\\n    --inherit-argv0\n\n\n# -----\n";
int main(int argc, char **argv) { return text[0] ? execv("$start/bin/start", argv) : 1; }
C
cc -static -o "$work/wrapper/wrapped" "$work/wrapper.c"
packages+='
  wrapped = pkgs.runCommand "wrapped" { inherit start; } "mkdir -p $out/bin; cp ${'"$work"'/wrapper}/wrapped $out/bin/wrapped";'
image() {
  build "let $packages in buildImage {
    name = \"start\"; $1
    config.Entrypoint = [ \"wrapped\" ];
    config.Env = [ \"PATH=\${wrapped}/bin:\${pkgs.jq}/bin\" ];
    config.Labels.unused = \"\${pkgs.python3}\";
  }"
}
paths() { "$strata" explain "$1" --start --json | jq -r '.paths[].path | select(startswith("/nix/store/"))'; }
plain=$(image "")
path=$(jq -r '."image-config".Env[0]' "$plain")
strace -f -qq -e trace=execve,open,openat,write -o "$work/log" env -i "$path" "$(build "let $packages in wrapped")/bin/wrapped" >"$work/out"
same "$(<"$work/out")" 42
sed '/write(1,/q' "$work/log" | grep -v ' = -1 ' | grep -oE '"/nix/store/[0-9a-z]{32}-[^/"]+' | tr -d '"' | sort -u >"$work/opened"
(($(wc -l <"$work/opened") >= 8)) || { cat "$work/log"; fail "the run opens too little"; }
paths "$plain" >"$work/listed"
same "$(head -n 2 "$work/listed" | sed 's/.*-//' | tr '\n' ' ')" "wrapped start "
sort "$work/listed" | comm -13 - "$work/opened" >"$work/unlisted"
silent cat "$work/unlisted"
sort "$work/listed" | comm -23 - "$work/opened" >"$work/unopened"
# The kernel itself opens the interpreter of a script.
same "$(<"$work/unopened")" "$(build pkgs.bash)"
lacks python "$work/listed"
"$strata" explain "$plain" --start --json >"$work/json"
same "$(jq '.opened < .needed and .needed < .size and .missing == []' "$work/json")" true
same "$(jq '[.paths[].size] | add' "$work/json")" "$(jq .needed "$work/json")"
"$strata" explain "$plain" --start >"$work/table"
grep -q "interpreter of .*-start/bin/start" "$work/table" || { cat "$work/table"; fail "the table has no reasons"; }

# Images of other forms are read from their layers.
"$strata" copy "$plain" "oci:$work/layout:t" --quiet >/dev/null
"$strata" copy "$plain" "docker-archive:$work/archive.tar" --quiet >/dev/null
archive() {
  build "let $packages in (makeContainerImage {
    name = \"start\"; $1
    layers = [ wrapped pkgs.jq pkgs.python3 ];
    config.Entrypoint = [ \"wrapped\" ];
    config.Env = [ \"PATH=/bin\" ];
  }).recipe"
}
for other in "$work/layout" "$work/archive.tar" "$(archive "")/image.json"; do
  paths "$other" | sort >"$work/others"
  diff "$work/others" <(sort "$work/listed") || fail "$other has another start"
done

# separateStart: two layers are the start and the rest.
separate='layering = { strategy = "transfer"; separateStart = true; };'
separated=$(image "maxLayers = 2; $separate")
is_start=$(jq -R . "$work/listed" | jq -sc .)
same "$(jq -c --argjson start "$is_start" '[.layers[] | [.paths[].path | IN($start[])] | unique]' "$separated" | jq -c 'sort')" '[[false],[true]]'
same "$(paths "$separated")" "$(<"$work/listed")"
layered=$(archive "maxLayers = 4; $separate")
same "$(jq -c --argjson start "$is_start" '[.layers[:-1][] | [.paths[].path | IN($start[])] | unique | length] | unique' "$layered/image.json")" '[1]'
# One layer holds everything.
same "$(jq '.layers | length' "$(image "maxLayers = 1; $separate")")" 1
build_fails "buildImage { name = \"x\"; $separate config.Labels.a = \"\${pkgs.hello}\"; }" 'argument layering: separateStart' 'names no program; set config.Entrypoint or config.Cmd'
build_fails "buildImage { name = \"x\"; $separate config.Cmd = [ \"nothing\" ]; }" 'the image has no executable program "nothing"'
