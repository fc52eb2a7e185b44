# Sourced by the commands in dev/: installs what a bare Debian machine lacks, and sets Nix up without a daemon.
# Running it twice changes nothing.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
mkdir -p "$cache"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# need COMMAND=PACKAGE…: installs the packages of the commands that are not there.
need() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || { say "please install: ${missing[*]}"; return 1; }
  say "installing ${missing[*]}"
  local sudo=()
  ((EUID == 0)) || sudo=(sudo)
  "${sudo[@]}" apt-get -qq update >/dev/null
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get -qq -y install --no-install-recommends "${missing[@]}" \
    >"$cache/apt.log" 2>&1 || { cat "$cache/apt.log" >&2; return 1; }
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
NIX_CONFIG=$(nix_config)
export NIX_CONFIG

target=$(uname -m)-unknown-linux-gnu
# STRATA_PROFILE=quick compiles in a fraction of the time, for a program that is slower.
profile=${STRATA_PROFILE:-release}
# Static, so that it runs in the sandbox.
strata=$root/target/$target/$profile/strata
build_strata() {
  need cc=build-essential
  command -v cargo >/dev/null || { say "please install Rust: https://rustup.rs"; return 1; }
  [[ -x $strata ]] || say "building strata, once: some minutes"
  RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --locked --profile "$profile" --target "$target" \
    --manifest-path "$root/Cargo.toml" --bin strata
}

prepare_hostpkgs() {
  need python3=python3 busybox=busybox-static patchelf=patchelf xz=xz-utils
  "$root/tests/hostpkgs/prepare" "$strata" "$cache/hostpkgs" "$@"
}
