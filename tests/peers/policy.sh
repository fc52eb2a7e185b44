# podman's policy.json takes what `--sign-tag` signed, and refuses everything else.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
. "$root/tests/engines.sh"
for command in podman skopeo openssl docker-registry; do need_command "$command"; done
export XDG_CACHE_HOME=$work/cache HOME=$work/home
use_podman "$work/podman"
cd "$work"
start_registry "$work/registry"
trap 'stop_registry' EXIT

# As docs/supply-chain.md has it.
mkdir -p home/.config/containers/registries.d
cat >home/.config/containers/policy.json <<JSON
{
  "default": [{ "type": "reject" }],
  "transports": {
    "docker": {
      "$registry": [{ "type": "sigstoreSigned", "keyPath": "$work/key.pub", "signedIdentity": { "type": "matchRepository" } }]
    }
  }
}
JSON
printf 'docker:\n  %s:\n    use-sigstore-attachments: true\n' "$registry" >home/.config/containers/registries.d/registry.yaml
for key in key other; do
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$key.pem" 2>/dev/null
  openssl pkey -in "$key.pem" -pubout -out "$key.pub"
done
image=$(greeter app:1 signed)
another=$(greeter app:2 unsigned)
push() { "$strata" copy "$1" "docker://$registry/$2" --quiet "${@:3}"; }
pull() { podman pull --quiet --tls-verify=false "docker://$registry/$1" >out 2>log; }
# refused NAME TEXT
refused() {
  if pull "$1"; then fail "podman takes $1"; fi
  grep -qF -- "$2" log || { cat log; fail "podman says something else of $1"; }
}

digest=$(push "$image" app:1 --sign-key key.pem --sign-tag)
pull app:1 || { cat log; fail "podman refuses what is signed"; }
same "$(podman run --rm --network none "$registry/app:1")" signed
pull "app@$digest" || { cat log; fail "podman refuses it by its digest"; }
skopeo copy --quiet --src-tls-verify=false "docker://$registry/app:1" dir:theirs
# A key of a program's, and a second signature beside the first.
push "$image" command:1 --sign-with 'openssl dgst -sha256 -sign key.pem' --sign-tag >/dev/null
pull command:1 || { cat log; fail "podman refuses what a command signed"; }
push "$image" both:1 --sign-key other.pem --sign-tag >/dev/null
refused both:1 "invalid signature"
push "$image" both:1 --sign-key key.pem --sign-tag >/dev/null
pull both:1 || { cat log; fail "podman finds no signature but the first"; }
# Every platform of an index.
python3 "$root/tests/peers/layout.py" layout >digests
push oci:layout:v1 index:1 --all --sign-key key.pem --sign-tag >/dev/null
pull index:1 || { cat log; fail "podman refuses a signed index"; }

# Nothing signed, only in the newer form, by somebody else; and another image under the tag.
push "$another" bare:1 >/dev/null
refused bare:1 "A signature was required, but no signature exists"
push "$another" bundle:1 --sign-key key.pem >/dev/null
refused bundle:1 "A signature was required, but no signature exists"
push "$another" theirs:1 --sign-key other.pem --sign-tag >/dev/null
refused theirs:1 "invalid signature"
push "$another" app:1 >/dev/null
refused app:1 "A signature was required, but no signature exists"
# The signature of another repository says so.
"$strata" copy "docker://$registry/app@$digest" "docker://$registry/moved:1" --quiet >/dev/null
signatures=${digest/:/-}.sig
"$strata" copy "docker://$registry/app:$signatures" "docker://$registry/moved:$signatures" --quiet --preserve-digests >/dev/null
refused moved:1 "does not match"
