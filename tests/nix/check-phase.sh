# The Rust tests pass in Nix's sandbox too, as in a package's check phase: no network, no other users, no setuid bits.
. "$root/tests/lib.sh"
cd "$root"
cargo test --quiet --locked --no-run --message-format json 2>"$work/log" >"$work/built" || { cat "$work/log" >&2; exit 1; }
# The package excludes tests/attacks, which runs git, sshd, podman and openssl, and tests/pages.rs, which reads pages.
jq -r 'select(.profile.test and .executable and (.target.name | IN("attacks", "pages") | not)).executable' "$work/built" >"$work/tests"
[[ -s $work/tests ]] || fail "cargo built no tests"
# The sandbox has the checkout and the machine's libraries at their paths, and /bin/sh as in every sandbox.
# git is in nativeCheckInputs.
paths="$root /bin/sh=$(realpath /bin/sh) /bin/git=$(realpath "$(command -v git)")"
for path in /lib /lib64 /usr/lib; do [[ ! -e $path ]] || paths+=" $path"; done
nix-build --no-out-link --option sandbox-paths "$paths" --expr "$(expression '
  pkgs.runCommand "tests" { tests = builtins.readFile '"$work/tests"'; now = '"$(date +%s%N)"'; } "
    # The same settings as in stdenv.
    export PATH=${pkgs.coreutils}/bin:/bin
    cd '"$root"'
    for test in $tests; do
      \"$test\" --quiet
    done
    touch $out
  "')" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; fail "tests fail in the sandbox"; }
same "$(grep -c "^test result: ok" "$work/log")" "$(wc -l <"$work/tests")"
