# zstd:chunked: podman pulls layers partially that other tools read as ordinary zstd. The bytes are counted.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_command docker-registry
need_command skopeo
need_command jq
((EUID == 0)) || skip "podman's partial pulls need root here"
export XDG_CACHE_HOME=$work/cache
start_registry "$work/registry"
start_counter "${registry#*:}"
trap 'kill $counter; stop_registry' EXIT

image=$(build '(buildImage { name = "chunked"; tag = "t"; maxLayers = 8; config.Cmd = [ "${pkgs.python3}/bin/python3" "-c" "print(6 * 7)" ]; })')
"$strata" copy --quiet "$image" "oci:$work/old:t" >/dev/null
python3 "$root/tests/peers/rebuild.py" "$work/old" "$work/new" >/dev/null
for which in old new; do
  for kind in zstd zstd:chunked; do
    "$strata" copy --quiet "oci:$work/$which" "docker://$registry/${kind/:/-}:$which" --compression "$kind" >/dev/null
  done
done

# The manifest has the positions of the tables of contents for old and new readers.
skopeo inspect --raw --tls-verify=false "docker://$registry/zstd-chunked:new" >"$work/manifest"
same "$(jq -r '[.layers[] | .mediaType] | unique[]' "$work/manifest")" application/vnd.oci.image.layer.v1.tar+zstd
same "$(jq '[.layers[].annotations | keys[] | sub(".*zstd-chunked."; "")] | group_by(.) | map([.[0], length / 2])' -c "$work/manifest")" \
  "$(jq -c '(.layers | length) as $n | [["manifest-checksum", $n], ["manifest-position", $n], ["tarsplit-position", $n / 2]]' "$work/manifest")"
# Other tools read the same layers.
skopeo copy --quiet --src-tls-verify=false "docker://$registry/zstd-chunked:new" "oci:$work/pulled:t"
"$strata" verify "$work/pulled" | grep -q ' 0 problems$' || fail "verify finds problems in the image that skopeo pulled"

use_podman "$work/podman"
printf '[storage.options]\npull_options = {enable_partial_images = "true", use_hard_links = "false", ostree_repos=""}\n' >>"$CONTAINERS_STORAGE_CONF"
# fetched IMAGE: pulls the image, and prints the number of received bytes.
fetched() {
  local before
  before=$(received)
  podman pull --quiet --tls-verify=false "$counted/$1" >/dev/null
  echo $(($(received) - before))
}
# Lists the contents of an image: files, modes, owners, times, links, contents. podman sets only the times of files,
# whichever tool made the layers (safeMkdir and safeSymlink in containers/storage v1.43.0,
# pkg/chunked/storage_linux.go).
listing() {
  local at
  at=$(podman image mount "$counted/$1")
  (
    cd "$at"
    find . -type f -printf '%P %y %m %U:%G %T@ %l %s\n' -o -type d -printf '%P %y %m %U:%G\n' -o -printf '%P %y %m %U:%G %l\n' | sort
    find . -type f -print0 | sort -z | xargs -0 sha256sum
  )
  podman image unmount "$counted/$1" >/dev/null
}
whole=$(fetched zstd-chunked:old)
part=$(fetched zstd-chunked:new)
echo "podman $(podman --version | cut -d' ' -f3): $whole bytes, and $part after a mass rebuild"
((part * 5 < whole)) || fail "podman pulled $part of $whole bytes after a rebuild"
# The received bytes match the predictions: of explain for the old image, of plan for its closure, and of diff for both.
# In addition there are manifest, config, and the headers of responses and their parts. podman 4.3 reads no tar-split
# data.
"$strata" explain "$image" --chunked --json >"$work/explained"
"$strata" plan "$image" --chunked --json --max-layers 8 --strategy popularity >"$work/planned"
status=0
"$strata" diff "oci:$work/old" "oci:$work/new" --chunked --json >"$work/diff" || status=$?
same "$status" 1
read -r explained planned predicted ranges < <(jq -rs '[.[0].chunked.rebuild, .[1].strategies[0].chunked.rebuild,
  .[2].chunked.bytes, .[2].chunked.ranges] | join(" ")' "$work/explained" "$work/planned" "$work/diff")
echo "predicted by explain: $explained bytes, by plan: $planned, by diff: $predicted in $ranges ranges"
# check_near ONE OTHER PERCENT
check_near() { (($1 * 100 <= $2 * (100 + $3) && $1 * 100 >= $2 * (100 - $3))) || fail "$1 is not within $3 % of $2"; }
check_near "$explained" "$predicted" 3
check_near "$planned" "$predicted" 10
split=0
if podman --version | grep -q ' 4\.3\.'; then
  split=$(jq '[.layers[].annotations["io.github.containers.zstd-chunked.tarsplit-position"] | split(":")[1] | tonumber] | add' "$work/manifest")
fi
((part >= predicted - split && part < (predicted - split) * 5 / 4 + 300 * ranges)) ||
  fail "diff predicts $predicted bytes, $split of which are not read, and $part were received"
(($(jq '.chunked.expected * 2 | floor' "$work/explained") < $(jq '.cost.expected | floor' "$work/explained"))) ||
  fail "an update costs as much as a partial pull as in layers"
"$strata" explain "$image" --chunked | grep -q '^as zstd:chunked, .* after a rebuild of everything$' || fail "explain does not say it"
listing zstd-chunked:new >"$work/in-parts"
podman rmi --all --force >/dev/null
fetched zstd:new >/dev/null
listing zstd:new >"$work/as-a-whole"
diff "$work/in-parts" "$work/as-a-whole" >"$work/differences" || { head "$work/differences"; fail "the partially pulled image differs"; }
