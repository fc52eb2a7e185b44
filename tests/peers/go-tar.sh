# Go's archive/tar writes every golden layer with the same digest, and reads the same entries of tars with unusual headers.
. "$root/tests/lib.sh"
need_command go
mkdir "$work/tars"
STRATA_KEEP_CASES=$work/cases STRATA_KEEP_TARS=$work/tars cargo test --quiet --manifest-path "$root/Cargo.toml" \
  --test it -- golden:: tar_headers:: >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
export GO111MODULE=off
go run "$root/tests/peers/gotar.go" "$work"/cases/* | LC_ALL=C sort >"$work/go"
LC_ALL=C sort "$root/tests/golden/layers.txt" | diff - "$work/go" || fail "Go makes other bytes"
go run "$root/tests/peers/tarlist.go" "$work/tars" || fail "Go reads other entries"
