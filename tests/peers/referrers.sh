# regctl finds the attachments of strata, and the reverse: in a registry with the referrers API (referrers.go), in one
# without (docker-registry, with the fallback tag), and in a layout that strata serves.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
for command in go jq docker-registry; do need_command "$command"; done
from_go github.com/regclient/regclient/cmd/regctl@v0.11.7 regctl || exit 0
mkdir "$work/registry-go"
cp "$root/tests/peers/referrers.go" "$work/registry-go"
(cd "$work/registry-go" && go mod init referrers && online go get cuelabs.dev/go/oci/ociregistry@v0.0.0-20251212221603-3adeb8663819 &&
  CGO_ENABLED=0 online go build -o ../referrers .) >"$work/log" 2>&1 ||
  skip "a registry with the referrers API cannot be built: $(tail -n 1 "$work/log" | tr -d '\t')"
export XDG_CACHE_HOME=$work/cache REGCTL_CONFIG=$work/regctl.json
cd "$work"
image=$(build 'buildImage { name = "app"; tag = "1"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem 2>/dev/null
openssl pkey -in key.pem -pubout -out key.pub
echo '{ "any": "thing" }' >thing.json
echo peer >peer.txt

pids=()
trap 'kill "${pids[@]}"; stop_registry' EXIT
# regctl_list REFERENCE [OPTIONS…]: prints regctl's list.
regctl_list() { regctl artifact list --format '{{json .}}' "$@" 2>log || { cat log; fail "regctl artifact list $*"; }; }
# same_lists REFERENCE: expects that regctl and strata list the same descriptors.
same_lists() {
  local descriptors='[.[] | { digest, size, mediaType, artifactType, annotations: (.annotations // {}) }] | sort_by(.digest)'
  regctl_list "$1" | jq -c ".descriptors | $descriptors" >list.regctl
  "$strata" manifest "$1" --referrers 2>log | jq -c ".manifests | $descriptors" >list.strata
  cmp list.regctl list.strata || { cat list.regctl list.strata; fail "the lists of $1 differ"; }
}
kinds() { regctl_list "$1" | jq -r '.descriptors[].artifactType' | sort; }
attachment() { regctl artifact get --subject "$1" --filter-artifact-type "$2" 2>log || { cat log; fail "regctl artifact get of $1: $2"; }; }
expected="application/spdx+json
application/vnd.cyclonedx+json
application/vnd.dev.sigstore.bundle.v0.3+json
application/vnd.dev.sigstore.bundle.v0.3+json
application/vnd.dev.sigstore.bundle.v0.3+json
application/vnd.dev.sigstore.bundle.v0.3+json
application/vnd.example+json
application/vnd.in-toto.provenance+json"

# attached HOST COUNT: regctl reads all attachments of strata, and strata reads an attachment of regctl. COUNT is the
# number of entries under the fallback tag.
attached() {
  local app=$1/app:1
  regctl registry set --tls disabled --skip-check "$1" 2>log || { cat log; fail "regctl registry set"; }
  "$strata" copy "$image" "docker://$app" --quiet --sbom cyclonedx --sbom spdx --provenance --sign-key key.pem >digest
  "$strata" attach "$app" thing.json --type application/vnd.example+json >attached
  # With the API, there is no list under the fallback tag.
  tagged=$(regctl manifest get --format body "$1/app:sha256-$(cut -d : -f 2 digest)" 2>/dev/null | jq '.manifests | length') || true
  [[ $tagged == "$2" ]] || fail "the fallback tag lists $tagged, not $2"
  same "$(kinds "$app")" "$expected"
  same_lists "$app"
  "$strata" sbom "$image" >bill.json
  attachment "$app" application/vnd.cyclonedx+json | cmp - bill.json
  "$strata" sbom "$image" --format spdx >bill.json
  attachment "$app" application/spdx+json | cmp - bill.json
  attachment "$app" application/vnd.example+json | cmp - thing.json
  attachment "$app" application/vnd.in-toto.provenance+json | jq -e .buildDefinition >/dev/null || fail "the provenance"
  # Repeating the attachment adds nothing.
  same "$("$strata" attach "$app" thing.json --type application/vnd.example+json)" "$(<attached)"
  same "$(kinds "$app")" "$expected"
  regctl artifact put --subject "$app" --artifact-type application/vnd.peer --file peer.txt 2>log || { cat log; fail "regctl artifact put"; }
  same_lists "$app"
  same "$(kinds "$app")" "$expected"$'\n'application/vnd.peer
  "$strata" verify "docker://$app" --key key.pub >/dev/null
}

start_registry "$work/registry"
attached "$registry" 8
./referrers >address 2>referrers.log &
pids+=($!)
wait_for "$!" test -s address || { cat referrers.log; fail "the registry ends"; }
with_api=$(<address)
attached "$with_api" ""

# A copy into a layout, which is served, and a copy from one registry to the other.
"$strata" copy --referrers "docker://$with_api/app:1" oci:layout:1 --quiet >/dev/null
"$strata" serve --listen 127.0.0.1:0 served:1=oci:layout:1 >references &
pids+=($!)
wait_for "$!" test -s references || fail "serve ends"
served=$(<references)
regctl registry set --tls disabled --skip-check "${served%%/*}"
same "$(kinds "$served")" "$expected"$'\n'application/vnd.peer
same_lists "$served"
attachment "$served" application/vnd.peer | cmp - peer.txt
"$strata" copy --referrers "docker://$with_api/app:1" "docker://$registry/copied:1" --quiet >/dev/null
same "$(kinds "$registry/copied:1")" "$expected"$'\n'application/vnd.peer
same_lists "$registry/copied:1"
