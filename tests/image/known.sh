# Which layers a registry has already: documents of --cache-to, and the repository's newest tags. Every machine here pushes
# for the first time.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
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
same "$(said .noted)" "$layers"
"$strata" manifest "$registry/notes/app:layers" >"$work/document"
same "$(jq -r .artifactType "$work/document")" application/vnd.strata.layers.v1
same "$(jq -c '[.layers[].digest] | sort' "$work/document")" "$("$strata" manifest "$registry/app:one" | jq -c '[.layers[].digest] | sort')"

# Another repository takes over what is noted, and notes the one layer that is new: newest first.
push "$two" other:two --cache-from notes/app:layers --cache-to notes/app:layers
same "$(said '[.blobs, .noted]' | tr -d ' \n')" "[2,1]"
"$strata" manifest "$registry/notes/app:layers" >"$work/longer"
same "$(jq -c '.layers[1:]' "$work/longer")" "$(jq -c .layers "$work/document")"
# What is noted already is not written again, and a document that does not exist says nothing.
push "$two" third:two --cache-from notes/app:layers --cache-from notes/missing:x --cache-to notes/app:layers
same "$(said '[.blobs, .noted]' | tr -d ' \n')" "[1,0]"
"$strata" manifest "$registry/notes/app:layers" | cmp - "$work/longer"
# The same repository, by its tag alone.
push "$one" third:one --cache-from notes/app:layers --cache-to known
push "$one" third:again --cache-from known
same "$(said .blobs)" 0

# An image is not written over.
if XDG_CACHE_HOME=$work/fresh "$strata" copy "$one" "docker://$registry/app:new" --cache-to app:one 2>"$work/log" >&2; then fail "the tag is an image's"; fi
grep -qF "$registry/app:one is not a list of known layers; the image was pushed" "$work/log" || { cat "$work/log"; fail "no reason"; }
same "$("$strata" manifest "$registry/app:one" | jq '.layers | length')" "$layers"

# Nobody says anything: the newest tags know the big layers. A tag that says nothing is as good as a version.
push "$one" silent:1ab
push "$two" silent:2cd
(($(said .blobs) == 2)) || { cat "$work/log"; fail "$(said .blobs) blobs were sent"; }
