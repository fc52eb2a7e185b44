# The Rust tests pass in Nix's sandbox too, as a package's check phase runs them: no network, no other users, no setuid bits.
. "$root/tests/lib.sh"
cd "$root"
cargo test --quiet --locked --no-run --message-format json 2>"$work/log" >"$work/built" || { cat "$work/log" >&2; exit 1; }
# The package leaves tests/attacks out, which run git, sshd, podman and openssl, and tests/pages.rs, which reads pages.
jq -r 'select(.profile.test and .executable and (.target.name | IN("attacks", "pages") | not)).executable' "$work/built" >"$work/tests"
[[ -s $work/tests ]] || fail "cargo built no tests"
# The sandbox sees the checkout and the machine's libraries, read by the binaries where they are, and /bin/sh as every
# sandbox does.
# git is of nativeCheckInputs.
paths="$root /bin/sh=$(realpath /bin/sh) /bin/git=$(realpath "$(command -v git)")"
for path in /lib /lib64 /usr/lib; do [[ ! -e $path ]] || paths+=" $path"; done
nix-build --no-out-link --option sandbox-paths "$paths" --expr "$(expression '
  pkgs.runCommand "tests" { tests = builtins.readFile '"$work/tests"'; now = '"$(date +%s%N)"'; } "
    # As in stdenv.
    export PATH=${pkgs.coreutils}/bin:/bin
    cd '"$root"'
    for test in $tests; do
      \"$test\" --quiet
    done
    touch $out
  "')" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; fail "tests fail in the sandbox"; }
same "$(grep -c "^test result: ok" "$work/log")" "$(wc -l <"$work/tests")"
