# diff predicts the bytes of a push exactly: all pairs of sources with every compression, counted at a proxy.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
need_command docker-registry
need_command skopeo
need_command python3
export XDG_CACHE_HOME=$work/cache

# Layers that share some of their contents, without other packages.
expression='let
  part = name: size: needs: pkgs.runCommand name { inherit needs; } "mkdir \$out; head -c ${toString size} ${pkgs.glibc}/lib/x86_64-linux-gnu/libc.so.6 > \$out/data; echo ${name} \$needs >> \$out/data";
  library = part "library-1" 300000 [ ];
  app = version: part "app-${version}" 40000 [ library (part "other-1" 100000 [ ]) ];
  image = version: more: buildImage ({ name = "pairs"; tag = version; maxLayers = 3; config.Cmd = [ "${app version}" ]; } // more);
in '
one=$(build "$expression image \"1\" { }")
two=$(build "$expression image \"2\" { }")

start_registry "$work/registry"
proxy_pid=
finish() {
  if [[ $proxy_pid ]]; then kill "$proxy_pid"; wait "$proxy_pid" || true; fi
  stop_registry
}
trap finish EXIT
python3 "$root/tests/peers/proxy.py" "$registry" "$work/port" "$work/log-of-requests" none &
proxy_pid=$!
wait_for "$proxy_pid" test -s "$work/port"
proxy=127.0.0.1:$(<"$work/port")

quietly() { "$strata" copy "$@" --quiet >/dev/null; }
quietly "$one" "docker://$registry/tags:gzip" --compression gzip
quietly "$one" "docker://$registry/tags:zstd" --compression zstd
quietly "$two" "docker://$registry/tags:plain" --compression none
# The same image from other tools: docker's archive, or strata's in the format of docker 20, and skopeo's gzip.
if [[ ${docker-} ]]; then
  quietly "$one" docker-daemon:
  docker save pairs:1 -o "$work/saved.tar"
  docker rmi pairs:1 >/dev/null
else
  quietly "$one" "docker-archive:$work/saved.tar"
fi
quietly "$one" "oci:$work/by_strata:t"
skopeo copy --quiet --dest-compress "oci:$work/by_strata:t" "oci:$work/skopeo:t"
saved=$(nix-store --add "$work/saved.tar")
on_it=$(build "$expression image \"2\" { fromImage = $saved; }")

sources=("$one" "$two" "$on_it" "$work/saved.tar" "$work/by_strata" "$work/skopeo" docker://tags:gzip docker://tags:zstd docker://tags:plain)
# The first image is read from the destination of the push, the second from another source: nothing is mounted.
at() { echo "${2/#docker:\/\//docker:\/\/$1/}"; }
# sent COMMAND…: prints the number of uploaded blobs and their bytes.
sent() {
  : >"$work/log-of-requests"
  "$@"
  awk '/\/blobs\/uploads\// { bytes += $4; blobs += $1 == "PUT" } END { printf "[%d,%d]\n", blobs, bytes }' "$work/log-of-requests"
}
pairs=0
for compression in none gzip zstd; do
  for old in "${sources[@]}"; do
    for new in "${sources[@]}"; do
      pairs=$((pairs + 1))
      quietly "$(at "$proxy" "$old")" "docker://$registry/pair$pairs:t" --compression "$compression"
      status=0
      predicted=$("$strata" diff "$(at "$proxy" "$old")" "$(at "$registry" "$new")" --compression "$compression" --json) || status=$?
      ((status < 2)) || fail "diff ends with $status"
      actual=$(sent quietly "$(at "$registry" "$new")" "docker://$proxy/pair$pairs:t" --compression "$compression")
      [[ $(jq -c '[.push.blobs, .push.bytes]' <<<"$predicted") == "$actual" && $(jq -c .push.estimated <<<"$predicted") == '[]' ]] ||
        fail "$compression: from $old to $new $actual is sent; predicted: $(jq -c .push <<<"$predicted")"
    done
  done
done
((pairs == 243)) || fail "only $pairs pairs"

# Blobs in another repository of the registry are mounted, and not sent.
target=docker://$proxy/mounted:t
quietly "$one" "$target" --compression gzip
status=0
"$strata" diff "$target" "docker://$proxy/tags:zstd" --json >"$work/diff" || status=$?
same "$(sent quietly "docker://$proxy/tags:zstd" "$target")" "$(jq -c '[.push.blobs, .push.bytes]' "$work/diff")"
same "$(jq -c .push.blobs "$work/diff")" 0

# The same layers in another compression are reported as such.
"$strata" diff "docker://$registry/tags:zstd" "$one" >"$work/out"
grep -q '^layers: 0 new, 0 gone' "$work/out" || { cat "$work/out"; fail "equal layers are reported as different"; }
grep -q 'are layers that the first image has in another compression' "$work/out" || { cat "$work/out"; fail "nothing of the compression"; }

# The same layers in another order, and one of them twice.
for change in '.layers |= reverse' '.layers |= . + [.[0]]'; do
  jq "$change" "$one" >"$work/moved.json"
  status=0
  "$strata" diff "$one" "$work/moved.json" >"$work/out" || status=$?
  same "$status" 1
  grep -q '^layers that both images have are in another order' "$work/out" || { cat "$work/out"; fail "the order of layers is not compared"; }
done

# --estimate compresses nothing: the uncompressed size. Recorded blobs are used.
status=0
"$strata" diff "$one" "$two" --estimate --json >"$work/estimate" || status=$?
same "$status" 1
status=0
"$strata" diff "$one" "$two" --json >"$work/exact" || status=$?
same "$(jq -c 'del(.push)' "$work/estimate")" "$(jq -c 'del(.push)' "$work/exact")"
jq -s -e '.[0].push as $estimate | .[1].push as $exact | ($estimate.blobs == $exact.blobs) and ($estimate.bytes > $exact.bytes)
  and ($estimate.estimated | length > 0) and $exact.estimated == []' "$work/estimate" "$work/exact" >/dev/null ||
  { jq -c .push "$work/estimate" "$work/exact"; fail "the estimate"; }
status=0
"$strata" diff "$one" "$two" --estimate >"$work/out" || status=$?
same "$status" 1
grep -qE '^a push sends .*B before compression: an estimate, because layers? [0-9, ]+ (was|were) not compressed$' "$work/out" || { cat "$work/out"; fail "no estimate"; }

# For a recipe without its store paths, the prediction is the uncompressed size, and is marked as an estimate.
jq 'del(.layers[].compressed)' "$two" | sed 's|-app-2"|-gone-2"|' >"$work/elsewhere.json"
status=0
"$strata" diff "$one" "$work/elsewhere.json" >"$work/out" || status=$?
same "$status" 1
grep -q '^a push sends .*B before compression: an estimate, because what layer' "$work/out" || { cat "$work/out"; fail "no estimate"; }
