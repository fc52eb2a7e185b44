# podman's policy.json accepts images that `--sign-tag` signed, and refuses all others. This uses Debian 13's podman and
# skopeo, since those of Debian 12 were built without sigstore's signatures ("Debian-local change: sigstore disabled").
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
for command in openssl docker-registry; do need_command "$command"; done
((EUID == 0)) || skip "a Debian 13 can be made and entered by root only"
online "$root/dev/debian13" >"$work/log" 2>&1 || { tail -n 3 "$work/log"; skip "mmdebstrap cannot make a Debian 13 here"; }
cd "$work"
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/containers" "$work/run" >storage.conf
in13() { "$root/dev/debian13" run env HOME="$work/home" CONTAINERS_STORAGE_CONF="$work/storage.conf" "$@"; }
start_registry "$work/registry"
trap 'stop_registry' EXIT

# The policy in docs/supply-chain.md.
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
# The cache belongs to the test.
push() { XDG_CACHE_HOME=$work/cache "$strata" copy "$1" "docker://$registry/$2" --quiet "${@:3}"; }
pull() { in13 podman pull --quiet --tls-verify=false "docker://$registry/$1" >out 2>log; }
# refused NAME TEXT
refused() {
  if pull "$1"; then fail "podman takes $1"; fi
  grep -qF -- "$2" log || { cat log; fail "podman has another error for $1"; }
}

digest=$(push "$image" app:1 --sign-key key.pem --sign-tag)
pull app:1 || { cat log; fail "podman refuses a signed image"; }
same "$(in13 podman image inspect --format '{{.Digest}}' "$registry/app:1")" "$digest"
pull "app@$digest" || { cat log; fail "podman refuses it by its digest"; }
in13 skopeo copy --quiet --src-tls-verify=false "docker://$registry/app:1" "dir:$work/other"
# A key in a signing program, and a second signature.
push "$image" command:1 --sign-with 'openssl dgst -sha256 -sign key.pem' --sign-tag >/dev/null
pull command:1 || { cat log; fail "podman refuses an image that a command signed"; }
push "$image" both:1 --sign-key other.pem --sign-tag >/dev/null
refused both:1 "invalid signature"
push "$image" both:1 --sign-key key.pem --sign-tag >/dev/null
pull both:1 || { cat log; fail "podman finds no signature but the first"; }
# Every platform of an index.
"$strata" index "docker://$registry/joined:1" "$registry/app:1" >/dev/null
push "docker://$registry/joined:1" index:1 --all --sign-key key.pem --sign-tag >/dev/null
pull index:1 || { cat log; fail "podman refuses a signed index"; }

# Unsigned, signed only in the newer format, signed by another key, and another image under the tag.
push "$another" bare:1 >/dev/null
refused bare:1 "A signature was required, but no signature exists"
push "$another" bundle:1 --sign-key key.pem >/dev/null
refused bundle:1 "A signature was required, but no signature exists"
push "$another" other:1 --sign-key other.pem --sign-tag >/dev/null
refused other:1 "invalid signature"
push "$another" app:1 >/dev/null
refused app:1 "A signature was required, but no signature exists"
# The signature of another repository is reported.
"$strata" copy "docker://$registry/app@$digest" "docker://$registry/moved:1" --quiet >/dev/null
signatures=${digest/:/-}.sig
"$strata" copy "docker://$registry/app:$signatures" "docker://$registry/moved:$signatures" --quiet --preserve-digests >/dev/null
refused moved:1 "is not accepted"
