# The certificates of tests/attacks/tls.rs are accepted or refused by Go's crypto/x509 in the same way.
. "$root/tests/lib.sh"
need_command go
STRATA_KEEP_CERTIFICATES=$work/cases cargo test --quiet --manifest-path "$root/Cargo.toml" --test attacks -- tls:: >"$work/log" 2>&1 ||
  { cat "$work/log"; exit 1; }
for folder in "$work"/cases/*; do echo "$(basename "$folder") $(<"$folder/verdict")"; done | LC_ALL=C sort >"$work/by_strata"
[ "$(wc -l <"$work/by_strata")" -gt 40 ] || fail "there are too few cases"
GO111MODULE=off go run "$root/tests/peers/certificates.go" "$work"/cases/* | LC_ALL=C sort | diff - "$work/by_strata" ||
  fail "Go's verdicts differ"
