# On a machine with neither Nix nor apt-get, dev/test runs the checks of the Rust code and names the parts that it skips.
# Commands that need Nix fail, and name the missing programs.
. "$root/tests/lib.sh"
mkdir "$work/bin"
for program in awk bash cat cut dirname env git grep head id mkdir mktemp nproc printf readlink realpath rm sed sort tail touch tr uname; do
  ln -s "$(type -P "$program")" "$work/bin/$program"
done
# The checks of the Rust code are not under test here.
printf '#!/bin/sh\n' >"$work/bin/cargo"
chmod +x "$work/bin/cargo"
alone() { alone_in "$work/bin" "$@"; }
alone_in() { env -u NIX_CONFIG PATH="$1" "${@:2}"; }

alone "$root/dev/test" tests/nix/flake.sh >"$work/out" 2>"$work/log" || { cat "$work/log"; fail "dev/test without Nix"; }
grep -q '^skipped tests/nix, tests/image and tests/peers: .*; nix flake check builds and verifies images$' "$work/out" ||
  { cat "$work/out"; fail "dev/test does not name the skipped parts"; }
same "$(tail -n 1 "$work/out")" "0 passed, 0 failed, 1 skipped"
# dev/check names the C compiler that cargo needs, and runs without Nix.
if alone "$root/dev/check" >"$work/log" 2>&1; then fail "dev/check succeeds without a C compiler"; fi
grep -qF "missing programs; install them (Debian's packages: build-essential)" "$work/log" || { cat "$work/log"; fail "dev/check does not name the C compiler"; }
ln -s "$(type -P cc)" "$work/bin/cc"
alone "$root/dev/check" >"$work/out" 2>"$work/log" || { cat "$work/log"; fail "dev/check without Nix"; }
same "$(tail -n 1 "$work/out")" "0 passed, 0 failed, 1 skipped"
# Without Rust, commands name two ways to have it.
mkdir "$work/without-rust"
cp -P "$work"/bin/* "$work/without-rust"
rm "$work/without-rust/cargo"
for command in check test "test tests/nix/flake.sh" "fuzz 1" kills; do
  # shellcheck disable=SC2086
  if alone_in "$work/without-rust" "$root"/dev/$command >"$work/log" 2>&1; then fail "dev/$command succeeds without Rust"; fi
  grep -qF 'cargo is missing; install Rust (https://rustup.rs), or run this command in `nix develop`, which has it' "$work/log" ||
    { cat "$work/log"; fail "dev/$command does not name Rust"; }
done
for command in "nix build .#image" "room true" "release 0.1.0 --dry-run"; do
  # shellcheck disable=SC2086
  if alone "$root"/dev/$command >"$work/log" 2>&1; then fail "dev/$command succeeds without Nix"; fi
  grep -qF "missing programs; install them (Debian's packages: nix-bin), or run nix flake check, which needs Nix only" "$work/log" ||
    { cat "$work/log"; fail "dev/$command does not name Nix"; }
done
