# Sourced by every test script. tests/run exports root, strata and cache, and gives each script a folder of its own
# in $work, removed afterwards. There is no network but loopback: see `online`.
set -euo pipefail

# skip REASON: ends the test; skip_part goes on. Both are printed and counted, and CONTRIBUTING.md lists those that may.
skip() { echo "skip: $*"; exit 77; }
skip_part() { echo "skip: $*"; }
# fail MESSAGE: ends the script; says which of its lines, and through which functions, came to it.
fail() {
  echo "FAIL: $*" >&2
  echo "  at ${BASH_SOURCE[-1]##*/}, line ${BASH_LINENO[*]:0:${#BASH_LINENO[@]}-1}" >&2
  exit 1
}

# need_command NAME: dev/test installs it.
need_command() { command -v "$1" >/dev/null || fail "$1 is not installed: add it to dev/test"; }

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
# online COMMAND…: through the machine's network, for what is downloaded once into $cache.
online() {
  if [[ ! ${STRATA_ROOM-} ]]; then
    "$@"
  elif ((EUID == 0)); then
    nsenter --net="$room/network" "$@"
  else
    declare -px >"$room/environment"
    sudo nsenter --net="$room/network" setpriv --reuid "$EUID" --regid "$(id -g)" --init-groups -- \
      bash -c '. "$0"; exec "$@"' "$room/environment" "$@"
  fi
}

# from_go MODULE@VERSION PROGRAM: built once a machine, and in PATH; part of the script is skipped where that fails.
from_go() {
  export PATH=$cache/go/bin:$PATH
  [[ -x $cache/go/bin/$2 ]] || CGO_ENABLED=0 GOBIN=$cache/go/bin online go install "$1" 2>"$work/log" ||
    { skip_part "$2 cannot be installed: $(tail -n 1 "$work/log" | tr -d '\t')"; return 1; }
}

# need_new_nix: Debian 13's Nix 2.26 in PATH, for expressions that Debian 12's 2.8 does not evaluate.
need_new_nix() {
  "$cache/nix-other/bin/nix" --version >/dev/null 2>&1 || online "$root/dev/other-nix" trixie "$cache/nix-other" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
  export PATH=$cache/nix-other/bin:$PATH NIX_CONFIG="${NIX_CONFIG-}"$'\nsandbox-paths ='
}

# expression EXPR: EXPR with the fixture as pkgs and our functions in scope.
expression() {
  echo "let pkgs = import $root/tests/hostpkgs { }; strata = import $root/nix { inherit pkgs; }; in with strata; $1"
}
# For scripts that expect nix2container's layers: its buildImage and buildLayer in scope, with its defaults.
use_nix2container() {
  expression() {
    echo "let pkgs = import $root/tests/hostpkgs { }; strata = import $root/nix { inherit pkgs; }; in with strata // strata.nix2container; $1"
  }
}
# build EXPR [OPTIONS…]: the store path of its result; the log is in $work/log.
build() {
  local text=$1
  shift
  nix-build --no-out-link --expr "$(expression "$text")" "$@" 2>"$work/log" || { cat "$work/log" >&2; return 1; }
}
# build_fails EXPR TEXT…: building or evaluating it fails, and the message has each TEXT.
build_fails() {
  local text=$1 part
  shift
  if nix-build --no-out-link --expr "$(expression "$text")" >"$work/out" 2>"$work/log"; then
    fail "this should fail: $text"
  fi
  for part in "$@"; do
    grep -qF -- "$part" "$work/log" || { cat "$work/log" >&2; fail "the message of $text lacks: $part"; }
  done
}
# same ACTUAL EXPECTED
# A command that fails inside of an argument leaves an empty text, so two empty texts are a failure too: see `silent`.
same() { [[ $1 && $1 == "$2" ]] || fail "expected: $2"$'\n'"   found: $1"; }
# lacks [OPTIONS] PATTERN FILE…: grep finds nothing in the files. A file that is missing is a failure too.
lacks() {
  local status=0
  grep "$@" || status=$?
  ((status == 1)) || fail "grep $* ends with $status, not 1"
}
# silent COMMAND…: it succeeds and prints nothing.
silent() {
  local out
  out=$("$@") || fail "$* ends with $?"
  [[ ! $out ]] || fail "$* prints: $out"
}

# greeter NAME:TAG WORD [ATTRIBUTE]: an image that prints WORD; nothing else of it depends on that. Or a program of it.
greeter() {
  build '(buildImage {
    name = "'"${1%:*}"'"; tag = "'"${1#*:}"'"; maxLayers = 4;
    layers = [ (buildLayer { maxLayers = 1; deps = [ pkgs.bash pkgs.coreutils ]; }) ];
    config.Cmd = [ "${pkgs.writeShellScript "greet" "echo '"$2"'"}" ];
  })'"${3:+.$3}"
}

# load ARCHIVE-OR-STREAM…: docker loads it; prints the image's name.
load() { docker load --quiet | sed -n 's/^Loaded image[^:]*: //p'; }
run() { docker run --rm --network none "$@"; }
