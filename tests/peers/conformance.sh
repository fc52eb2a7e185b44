# The OCI distribution conformance suite's pull tests, against strata serve.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command go
need_command jq
mkdir "$work/suite"
cd "$work/suite"
export GOFLAGS="-mod=mod -modcacherw"
suite=github.com/opencontainers/distribution-spec/conformance
{ go mod init suite && online go get "$suite@latest" && online go test -c -o conformance "$suite"; } >"$work/log" 2>&1 ||
  skip "the suite cannot be had: $(tail -n 1 "$work/log" | tr -d '\t')"

image=$(build 'buildImage { name = "served"; tag = "t"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
"$strata" serve --listen 127.0.0.1:0 "$image" >"$work/references" &
server=$!
trap 'kill "$server"; wait "$server"' EXIT
wait_for "$server" test -s "$work/references" || fail "serve ends"
host=$(cut -d / -f 1 "$work/references")
"$strata" manifest "$host/served:t" >"$work/manifest"
OCI_ROOT_URL=http://$host OCI_NAMESPACE=served OCI_TEST_PULL=1 OCI_TAG_NAME=t OCI_BLOB_DIGEST=$(jq -r '.layers[0].digest' "$work/manifest") \
  OCI_MANIFEST_DIGEST=sha256:$(sha256sum <"$work/manifest" | cut -d ' ' -f 1) ./conformance >"$work/log" 2>&1 || { cat "$work/log"; fail "conformance"; }
