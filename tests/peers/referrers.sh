# What strata attaches is what regctl finds, and the reverse: in a registry with the referrers API (crane's), in one without
# (docker-registry, where the fallback tag has it), and served by strata from a layout.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
for command in go jq docker-registry; do need_command "$command"; done
from_go github.com/regclient/regclient/cmd/regctl@v0.11.7 regctl || exit 0
from_go github.com/google/go-containerregistry/cmd/crane@v0.20.6 crane || exit 0
export XDG_CACHE_HOME=$work/cache REGCTL_CONFIG=$work/regctl.json
cd "$work"
image=$(build 'buildImage { name = "app"; tag = "1"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem 2>/dev/null
openssl pkey -in key.pem -pubout -out key.pub
echo '{ "any": "thing" }' >thing.json
echo theirs >theirs.txt

pids=()
trap 'kill "${pids[@]}"; stop_registry' EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# theirs REFERENCE [OPTIONS…]: what regctl lists.
theirs() { regctl artifact list --format '{{json .}}' "$@" 2>log || { cat log; fail "regctl artifact list $*"; }; }
# same_lists REFERENCE: regctl and strata list the same descriptors.
same_lists() {
  local descriptors='[.[] | { digest, size, mediaType, artifactType, annotations: (.annotations // {}) }] | sort_by(.digest)'
  theirs "$1" | jq -c ".descriptors | $descriptors" >list.regctl
  "$strata" manifest "$1" --referrers 2>log | jq -c ".manifests | $descriptors" >list.strata
  cmp list.regctl list.strata || { cat list.regctl list.strata; fail "the lists of $1 differ"; }
}
kinds() { theirs "$1" | jq -r '.descriptors[].artifactType' | sort; }
of() { regctl artifact get --subject "$1" --filter-artifact-type "$2" 2>log || { cat log; fail "regctl artifact get of $1: $2"; }; }
expected="application/spdx+json
application/vnd.cyclonedx+json
application/vnd.dev.sigstore.bundle.v0.3+json
application/vnd.dev.sigstore.bundle.v0.3+json
application/vnd.dev.sigstore.bundle.v0.3+json
application/vnd.dev.sigstore.bundle.v0.3+json
application/vnd.example+json
application/vnd.in-toto.provenance+json"

# attached HOST: everything that strata attaches, read by regctl, and one thing that regctl attaches, read by strata.
attached() {
  local app=$1/app:1
  regctl registry set --tls disabled --skip-check "$1" 2>log || { cat log; fail "regctl registry set"; }
  "$strata" copy "$image" "docker://$app" --quiet --sbom cyclonedx --sbom spdx --provenance --sign-key key.pem >digest
  "$strata" attach "$app" thing.json --type application/vnd.example+json >attached
  same "$(kinds "$app")" "$expected"
  same_lists "$app"
  "$strata" sbom "$image" >bill.json
  of "$app" application/vnd.cyclonedx+json | cmp - bill.json
  "$strata" sbom "$image" --format spdx >bill.json
  of "$app" application/spdx+json | cmp - bill.json
  of "$app" application/vnd.example+json | cmp - thing.json
  of "$app" application/vnd.in-toto.provenance+json | jq -e .buildDefinition >/dev/null || fail "the provenance"
  # The same again is nothing new.
  same "$("$strata" attach "$app" thing.json --type application/vnd.example+json)" "$(<attached)"
  same "$(kinds "$app")" "$expected"
  regctl artifact put --subject "$app" --artifact-type application/vnd.theirs --file theirs.txt 2>log || { cat log; fail "regctl artifact put"; }
  same_lists "$app"
  same "$(kinds "$app")" "$expected"$'\n'application/vnd.theirs
  "$strata" verify "docker://$app" --key key.pub >/dev/null
}

start_registry "$work/registry"
attached "$registry"
# It has no API: the fallback tag lists it all.
regctl manifest get --format body "$registry/app:sha256-$(cut -d : -f 2 digest)" | jq -e '.manifests | length == 9' >/dev/null ||
  fail "the fallback tag"
port=$(free_port)
crane registry serve --address "127.0.0.1:$port" >crane.log 2>&1 &
pids+=($!)
wait_for "$!" python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" || { cat crane.log; fail "crane ends"; }
attached "127.0.0.1:$port"
# Here nobody keeps a list by hand.
if regctl manifest head "127.0.0.1:$port/app:sha256-$(cut -d : -f 2 digest)" >/dev/null 2>&1; then fail "a fallback tag beside the API"; fi

# Taken along into a layout, and served from there; and from the one registry to the other.
"$strata" copy --referrers "docker://127.0.0.1:$port/app:1" oci:layout:1 --quiet >/dev/null
"$strata" serve --listen 127.0.0.1:0 served:1=oci:layout:1 >references &
pids+=($!)
wait_for "$!" test -s references || fail "serve ends"
served=$(<references)
regctl registry set --tls disabled --skip-check "${served%%/*}"
same "$(kinds "$served")" "$expected"$'\n'application/vnd.theirs
same_lists "$served"
of "$served" application/vnd.theirs | cmp - theirs.txt
"$strata" copy --referrers "docker://127.0.0.1:$port/app:1" "docker://$registry/copied:1" --quiet >/dev/null
same "$(kinds "$registry/copied:1")" "$expected"$'\n'application/vnd.theirs
same_lists "$registry/copied:1"
