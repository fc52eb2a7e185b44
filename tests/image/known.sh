# Layers that a registry has already: documents of known layers and named tags, trusted if signed, else verified. Every
# machine here pushes for the first time.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
need_command openssl
start_registry "$work/registry"
trap 'stop_registry' EXIT

# push IMAGE REFERENCE [OPTIONS…]: what happened, in $work/event.
push() {
  XDG_CACHE_HOME=$(mktemp -d -p "$work") "$strata" copy "$1" "docker://$registry/$2" --json "${@:3}" >"$work/digest" 2>"$work/log" ||
    { cat "$work/log" >&2; fail "copy $*"; }
  grep '"event":"pushed"' "$work/log" >"$work/event"
}
said() { jq "$1" "$work/event"; }
one=$(greeter app:one one) two=$(greeter app:two two)
layers=$(jq '.layers | length' "$one")

push "$one" app:one --cache-to notes/app:layers
same "$(said .recorded)" "$layers"
"$strata" manifest "$registry/notes/app:layers" >"$work/document"
same "$(jq -r .artifactType "$work/document")" application/vnd.strata.layers.v1
same "$(jq -c '[.layers[].digest] | sort' "$work/document")" "$("$strata" manifest "$registry/app:one" | jq -c '[.layers[].digest] | sort')"

# Another repository takes over what is noted, and notes the one layer that is new: newest first.
push "$two" other:two --cache-from notes/app:layers --cache-to notes/app:layers
same "$(said '[.blobs, .recorded, .verified, .made]' | tr -d ' \n')" "[2,1,$((layers - 1)),1]"
"$strata" manifest "$registry/notes/app:layers" >"$work/longer"
same "$(jq -c '.layers[1:]' "$work/longer")" "$(jq -c .layers "$work/document")"
# What is noted already is not written again, and a document that does not exist says nothing.
push "$two" third:two --cache-from notes/app:layers --cache-from notes/missing:x --cache-to notes/app:layers
same "$(said '[.blobs, .recorded]' | tr -d ' \n')" "[1,0]"
"$strata" manifest "$registry/notes/app:layers" | cmp - "$work/longer"
# The same repository, by its tag alone.
push "$one" third:one --cache-from notes/app:layers --cache-to known
push "$one" third:again --cache-from known
same "$(said .blobs)" 0

# An image is not written over.
if XDG_CACHE_HOME=$work/fresh "$strata" copy "$one" "docker://$registry/app:new" --cache-to app:one 2>"$work/log" >&2; then fail "the tag is an image's"; fi
grep -qF "$registry/app:one is not a list of known layers; the image was pushed" "$work/log" || { cat "$work/log"; fail "no reason"; }
same "$("$strata" manifest "$registry/app:one" | jq '.layers | length')" "$layers"

# No other tag is read, however new: any account with write access can push one.
push "$one" silent:1ab
push "$two" silent:2cd
same "$(said '[.trusted, .verified, .made]' | tr -d ' \n')" "[0,0,$layers]"
push "$two" silent:3ef --cache-from 1ab
same "$(said '[.trusted, .verified, .made]' | tr -d ' \n')" "[0,$((layers - 1)),1]"

# Signed known layers are trusted; the same document without the key is verified.
openssl ecparam -name prime256v1 -genkey -noout -out "$work/key.pem"
openssl ec -in "$work/key.pem" -pubout -out "$work/key.pub" 2>"$work/openssl"
push "$one" signed:one --cache-to notes/signed:layers --sign-key "$work/key.pem"
push "$one" fresh:one --cache-from notes/signed:layers --cache-key "$work/key.pub"
same "$(said '[.trusted, .verified, .made]' | tr -d ' \n')" "[$layers,0,0]"
push "$one" fresh:two --cache-from notes/signed:layers
same "$(said '[.trusted, .verified, .made]' | tr -d ' \n')" "[0,$layers,0]"
push "$one" fresh:three --cache-from notes/signed:layers --trust-tags
same "$(said '[.trusted, .verified, .made]' | tr -d ' \n')" "[$layers,0,0]"
