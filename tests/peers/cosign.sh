# cosign verifies signatures of strata, and the reverse. Both refuse changed content.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command go
need_command openssl
from_go github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3 cosign || exit 0
start_registry "$work/registry"
trap 'stop_registry' EXIT
cd "$work"

export COSIGN_PASSWORD='a password; with "signs"'
cosign generate-key-pair >/dev/null 2>"$work/log" || fail "cosign generate-key-pair: $(<"$work/log")"
image=$(build 'buildImage { name = "app"; tag = "1"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
bill=$(build '(buildImage { name = "app"; tag = "1"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }).sbom.spdx')
# cosign_verify KEY REFERENCE [COMMAND] [OPTIONS…]
cosign_verifies() { cosign "${3-verify}" --key "$1" --insecure-ignore-tlog=true --allow-http-registry --allow-insecure-registry "${@:4}" "$2" >"$work/out" 2>"$work/log"; }

# An image with all attachments, signed with cosign's key.
printf '{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/1","author":"x","timestamp":"2026-02-01T00:00:00Z","version":1,
  "statements":[{"vulnerability":{"name":"CVE-2022-1"},"status":"fixed"}]}' >team.json
digest=$("$strata" copy "$image" "docker://$registry/app:1" --quiet --sbom cyclonedx --sbom "$bill" --vex team.json --provenance \
  --builder-id https://ci.example.com/ --flake .#image --sign-key cosign.key --sign-tag)
cosign_verifies cosign.pub "$registry/app:1" || fail "cosign verify: $(<"$work/log")"
for kind in cyclonedx spdxjson openvex slsaprovenance1; do
  cosign_verifies cosign.pub "$registry/app:1" verify-attestation --type "$kind" || fail "cosign verify-attestation $kind: $(<"$work/log")"
done
# The older format, too.
cosign_verifies cosign.pub "$registry/app:1" verify --new-bundle-format=false || fail "cosign verify of the tag: $(<"$work/log")"
same "$("$strata" verify "docker://$registry/app:1" --key cosign.pub | grep -o 'signed$')" signed

# A policy.
echo '{ "sbom": true, "provenance": { "builders": ["https://ci.example.com/"] }, "forbiddenPaths": ["gcc-*"] }' >policy.json
"$strata" verify "docker://$registry/app:1" --key cosign.pub --policy policy.json >/dev/null
echo '{ "provenance": { "builders": ["https://else.example.com/"] }, "forbiddenPaths": ["hello-*"] }' >other.json
refused() {
  local text=$1
  shift
  if "$strata" "$@" >"$work/out" 2>"$work/log"; then fail "this should fail: $*"; fi
  grep -qF -- "$text" "$work/log" || { cat "$work/log"; fail "the message of $* lacks: $text"; }
}
refused 'forbiddenPaths: "hello-*" is in it: /nix/store/' verify "docker://$registry/app:1" --key cosign.pub --policy other.json
refused 'it was built by https://ci.example.com/, not by https://else.example.com/' verify "docker://$registry/app:1" --key cosign.pub --policy other.json

# Another key, an unsigned image, and another image under the tag.
openssl ecparam -name prime256v1 -genkey -noout -out sec1.pem 2>/dev/null
openssl pkey -in sec1.pem -pubout -out sec1.pub
refused 'is not signed with this key' verify "docker://$registry/app:1" --key sec1.pub
if cosign_verifies sec1.pub "$registry/app:1"; then fail "cosign takes another key"; fi
other=$(greeter app:2 two)
"$strata" copy "$other" "docker://$registry/app:1" --quiet >/dev/null
refused 'is not signed with this key' copy "docker://$registry/app:1" "oci:$work/layout:t" --verify-key cosign.pub --quiet
[[ ! -e $work/layout ]] || fail "an unsigned image was copied"
"$strata" copy "docker://$registry/app@$digest" "oci:$work/layout:t" --verify-key cosign.pub --quiet >/dev/null

# All kinds of openssl's keys.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.pem 2>/dev/null
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem 2>/dev/null
openssl genpkey -algorithm ED25519 -out ed25519.pem
for key in sec1 p384 rsa ed25519; do
  openssl pkey -in "$key.pem" -pubout -out "$key.pub"
  "$strata" copy "$other" "docker://$registry/$key:1" --quiet --sign-key "$key.pem" >/dev/null
  "$strata" verify "docker://$registry/$key:1" --key "$key.pub" >/dev/null || fail "$key: strata does not verify its signature"
done
for key in sec1 rsa; do
  cosign_verifies "$key.pub" "$registry/$key:1" || fail "$key: cosign verify: $(<"$work/log")"
done
# A signing program, as for a KMS.
"$strata" copy "$other" "docker://$registry/command:1" --quiet --sign-with 'openssl dgst -sha256 -sign sec1.pem' >/dev/null
cosign_verifies sec1.pub "$registry/command:1" || fail "--sign-with: cosign verify: $(<"$work/log")"
refused 'wrote no signature' copy "$other" "docker://$registry/command:2" --quiet --sign-with 'cat >/dev/null'

# Signatures of cosign in both formats.
"$strata" copy "$other" "docker://$registry/by_cosign:1" --quiet >/dev/null
"$strata" copy "$image" "docker://$registry/by_cosign:2" --quiet >/dev/null
signing=(--key cosign.key --tlog-upload=false --use-signing-config=false --allow-http-registry --allow-insecure-registry --yes)
cosign sign "${signing[@]}" "$registry/by_cosign:1" >"$work/log" 2>&1 || fail "cosign sign: $(<"$work/log")"
cosign sign --new-bundle-format=false "${signing[@]}" "$registry/by_cosign:2" >"$work/log" 2>&1 || fail "cosign sign, tag: $(<"$work/log")"
for version in 1 2; do
  "$strata" verify "docker://$registry/by_cosign:$version" --key cosign.pub >/dev/null || fail "strata does not verify cosign's signature $version"
  refused 'is not signed with this key' verify "docker://$registry/by_cosign:$version" --key sec1.pub
done

# Invalid keys, and wrong passwords.
COSIGN_PASSWORD=wrong refused 'the password is wrong' copy "$image" "docker://$registry/no:1" --quiet --sign-key cosign.key
(unset COSIGN_PASSWORD; refused 'COSIGN_PASSWORD' copy "$image" "docker://$registry/no:1" --quiet --sign-key cosign.key)
refused 'it is a public key' copy "$image" "docker://$registry/no:1" --quiet --sign-key cosign.pub
refused 'it is a private key' verify "docker://$registry/by_cosign:1" --key sec1.pem
refused 'it is not a PEM file' copy "$image" "docker://$registry/no:1" --quiet --sign-key policy.json
refused 'is for destinations that are registries' copy "$image" "oci:$work/no" --quiet --sign-key cosign.key
"$strata" manifest "$registry/no:1" >/dev/null 2>&1 && fail "something was pushed before the key was looked at"

# An attached file, which other tools find.
echo '{ "any": "thing" }' >thing.json
attached=$("$strata" attach "$registry/by_cosign:1" thing.json --type application/vnd.example+json)
"$strata" manifest "$registry/by_cosign@$attached" | jq -e '.subject.digest and .artifactType == "application/vnd.example+json"' >/dev/null || fail "attach"
same "$("$strata" attach "$registry/by_cosign:1" thing.json --type application/vnd.example+json)" "$attached"
refused 'is not cyclonedx, spdx, openvex, provenance or a media type' attach "$registry/by_cosign:1" thing.json --type nonsense
