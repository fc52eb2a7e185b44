# Layers that exist in a registry: documents of known layers and named tags, which are trusted if they are signed, and
# otherwise verified. Each machine here pushes for the first time.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
need_command openssl
start_registry "$work/registry"
trap 'stop_registry' EXIT

# push IMAGE REFERENCE [OPTIONS…]: pushes, and writes the event to $work/event.
push() {
  XDG_CACHE_HOME=$(mktemp -d -p "$work") "$strata" copy "$1" "docker://$registry/$2" --json "${@:3}" >"$work/digest" 2>"$work/log" ||
    { cat "$work/log" >&2; fail "copy $*"; }
  grep '"event":"pushed"' "$work/log" >"$work/event"
}
event_field() { jq "$1" "$work/event"; }
one=$(greeter app:one one) two=$(greeter app:two two)
layers=$(jq '.layers | length' "$one")

push "$one" app:one --cache-to notes/app:layers
same "$(event_field .recorded)" "$layers"
"$strata" manifest "$registry/notes/app:layers" >"$work/document"
same "$(jq -r .artifactType "$work/document")" application/vnd.strata.layers.v1
same "$(jq -c '[.layers[].digest] | sort' "$work/document")" "$("$strata" manifest "$registry/app:one" | jq -c '[.layers[].digest] | sort')"

# A push to another repository mounts the recorded layers, and records one new layer first.
push "$two" other:two --cache-from notes/app:layers --cache-to notes/app:layers
same "$(event_field '[.blobs, .recorded, .verified, .made]' | tr -d ' \n')" "[2,1,$((layers - 1)),1]"
"$strata" manifest "$registry/notes/app:layers" >"$work/longer"
same "$(jq -c '.layers[1:]' "$work/longer")" "$(jq -c .layers "$work/document")"
# Recorded layers are not written again, and a missing document is no error.
push "$two" third:two --cache-from notes/app:layers --cache-from notes/missing:x --cache-to notes/app:layers
same "$(event_field '[.blobs, .recorded]' | tr -d ' \n')" "[1,0]"
"$strata" manifest "$registry/notes/app:layers" | cmp - "$work/longer"
# The same repository, named by its tag.
push "$one" third:one --cache-from notes/app:layers --cache-to known
push "$one" third:again --cache-from known
same "$(event_field .blobs)" 0

# An image is not overwritten by the document.
if XDG_CACHE_HOME=$work/fresh "$strata" copy "$one" "docker://$registry/app:new" --cache-to app:one 2>"$work/log" >&2; then fail "the tag is an image's"; fi
grep -qF "$registry/app:one is not a list of known layers; the image was pushed" "$work/log" || { cat "$work/log"; fail "no reason"; }
same "$("$strata" manifest "$registry/app:one" | jq '.layers | length')" "$layers"

# No other tag is read, even if it is newer: any account with write access can push one.
push "$one" silent:1ab
push "$two" silent:2cd
same "$(event_field '[.trusted, .verified, .made]' | tr -d ' \n')" "[0,0,$layers]"
push "$two" silent:3ef --cache-from 1ab
same "$(event_field '[.trusted, .verified, .made]' | tr -d ' \n')" "[0,$((layers - 1)),1]"

# Signed known layers are trusted. Without the key, the same document is verified.
openssl ecparam -name prime256v1 -genkey -noout -out "$work/key.pem"
openssl ec -in "$work/key.pem" -pubout -out "$work/key.pub" 2>"$work/openssl"
push "$one" signed:one --cache-to notes/signed:layers --sign-key "$work/key.pem"
push "$one" fresh:one --cache-from notes/signed:layers --cache-key "$work/key.pub"
same "$(event_field '[.trusted, .verified, .made]' | tr -d ' \n')" "[$layers,0,0]"
push "$one" fresh:two --cache-from notes/signed:layers
same "$(event_field '[.trusted, .verified, .made]' | tr -d ' \n')" "[0,$layers,0]"
push "$one" fresh:three --cache-from notes/signed:layers --trust-tags
same "$(event_field '[.trusted, .verified, .made]' | tr -d ' \n')" "[$layers,0,0]"
