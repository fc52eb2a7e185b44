# Every golden layer, made with Go's archive/tar too: the same digests.
. "$root/tests/lib.sh"
need_command go
STRATA_KEEP_CASES=$work/cases cargo test --quiet --manifest-path "$root/Cargo.toml" --test it golden:: >"$work/log" 2>&1 ||
  { cat "$work/log"; exit 1; }
GO111MODULE=off go run "$root/tests/peers/gotar.go" "$work"/cases/* | LC_ALL=C sort >"$work/go"
LC_ALL=C sort "$root/tests/golden/layers.txt" | diff - "$work/go" || fail "Go makes other bytes"
