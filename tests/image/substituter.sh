# Pushes without the closure: layers from the NARs of binary caches, on a machine whose store is empty.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
# These mounts need a user namespace if the user is not root.
apart=(unshare --mount --propagation private)
((EUID == 0)) || apart+=(--user --map-root-user)
export XDG_CACHE_HOME=$work/cache HOME=$work/home
mkdir -p "$work/home" "$work/empty"
start_registry "$work/registry"
servers=()
trap 'stop_registry; for server in "${servers[@]}"; do kill "$server" 2>/dev/null || continue; done' EXIT

# in_empty_store COMMAND…: runs the command on a machine with an empty store.
enter='mount --bind "$0" /nix/store; exec "$@"'
in_empty_store() { "${apart[@]}" bash -c "$enter" "$work/empty" "$@"; }
# start_cache FAULT: starts a cache over HTTP, and sets cache_url and cache_log.
start_cache() {
  local at
  at=$(mktemp -d -p "$work")
  python3 "$root/tests/peers/cache.py" "$work/binary" "$at/port" "$at/log" "$1" &
  servers+=($!)
  : >"$at/log"
  wait_for $! test -e "$at/port"
  cache_url=http://127.0.0.1:$(<"$at/port") cache_log=$at/log
}
nars() { grep -c '^/nar/.* 2[0-9][0-9]' "$cache_log" || true; }
nar_bytes() { awk '/^\/nar\// { sum += $3 } END { print sum + 0 }' "$cache_log"; }

image() {
  echo '(buildImage { name = "'"$registry/bare"'"; maxLayers = 40; compressed = "gzip"; layers = [ (buildLayer { deps = [ pkgs.bash pkgs.coreutils ]; compressed = "gzip"; }) ];
    copyToRoot = [ pkgs.hello ]; perms = [ { path = pkgs.hello; regex = "bin"; mode = "0500"; uid = 7; } ];
    config.Cmd = [ "${pkgs.writeShellScript "greet" "echo '"$1"'"}" ]; })'
}
one=$(build "$(image one)") two=$(build "$(image two)")
cp "$(build "$(image one).detached")" "$work/one.json"
cp "$(build "$(image two).detached")" "$work/two.json"
nix copy --no-check-sigs --to "file://$work/binary" "$one" "$two"

# A push from the cache has the same result as a push from the store, for every compression of NARs.
"$strata" copy "$one" "oci:$work/expected" --quiet >"$work/expected.digest"
for compression in none zstd bzip2; do
  nix copy --no-check-sigs --to "file://$work/$compression?compression=$compression" "$one"
  in_empty_store "$strata" copy "$work/one.json" "oci:$work/$compression.layout" --substituter "file://$work/$compression?compression=$compression" --quiet >"$work/digest"
  same "$(<"$work/digest")" "$(<"$work/expected.digest")"
done
diff -r "$work/expected/blobs" "$work/none.layout/blobs" || fail "blobs differ"

# Over HTTP: first everything, then nothing, then the changes.
start_cache none
push() { in_empty_store "$strata" copy "$work/$1.json" "docker://$registry/bare:$2" --substituter "$cache_url" "${@:3}" 2>"$work/log" || { cat "$work/log" >&2; fail "pushing $*"; }; }
push one one >"$work/pushed"
same "$(nars)" "$(jq '[.layers[].paths[].path] | unique | length' "$one")"
: >"$cache_log"
XDG_CACHE_HOME=$work/fresh push one again >/dev/null
same "$(wc -l <"$cache_log")" 0
XDG_CACHE_HOME=$work/fresh push two two >/dev/null
same "$(nars)" 1
(($(nar_bytes) < 1000)) || fail "$(nar_bytes) bytes for a changed line"
skopeo copy --quiet --src-tls-verify=false "docker://$registry/bare:one" "oci:$work/pulled:one"
"$strata" verify "$work/pulled" | grep -q ' 0 problems$' || fail "verify finds problems in the pushed image"
XDG_CACHE_HOME=$work/store "$strata" copy "$one" "docker://$registry/bare:store" --quiet >"$work/from-store"
same "$(<"$work/pushed")" "$(<"$work/from-store")"

# The machine has a half of the closure.
mkdir "$work/half"
paths=$(nix-store -qR "$one" | sed -n '1~2p')
for path in $paths; do cp -a "$path" "$work/half/"; done
: >"$cache_log"
"${apart[@]}" bash -c 'mount --bind "$0" /nix/store; exec "$@"' "$work/half" \
  "$strata" copy "$work/one.json" "oci:$work/half.layout" --substituter "$cache_url" --quiet >"$work/digest"
same "$(<"$work/digest")" "$(<"$work/expected.digest")"
(($(nars) > 0 && $(nars) < $(nix-store -qR "$one" | wc -l))) || fail "$(nars) NARs"

# A pulled base image, detached: its layers come from its registry, or if that is down from the cache.
digest=$("$strata" copy "$one" "docker://$registry/base:t" --quiet)
skopeo copy --quiet --src-tls-verify=false "docker://$registry/base@$digest" "dir:$work/by-skopeo"
pulled="(pullImage { imageName = \"$registry/base\"; imageDigest = \"$digest\"; tlsVerify = false;
  sha256 = \"$(nix-hash --type sha256 --base32 "$work/by-skopeo")\"; })"
detached=$(build "$pulled.detached")
same "$(nix-store -qR "$detached")" "$detached"
cp "$detached" "$work/pulled.json"
jq '.layers[].origin = "127.0.0.1:1/base"' "$detached" >"$work/gone.json"
nix copy --no-check-sigs --to "file://$work/binary" "$(build "$pulled")"
for recipe in pulled gone; do
  in_empty_store "$strata" copy "$work/$recipe.json" "oci:$work/$recipe.layout" --substituter "file://$work/binary" --preserve-digests --quiet >"$work/digest"
  diff <(jq -c '[.layers[].digest]' "$work/by-skopeo/manifest.json") \
    <(jq -c '[.layers[].digest]' "$work/$recipe.layout/blobs/sha256/$(cut -d : -f 2 "$work/digest")") || fail "$recipe has other layers"
done

# Without --substituter, the caches of Nix's configuration are used.
NIX_CONFIG="substituters = file://$work/missing file://$work/binary" in_empty_store "$strata" copy "$work/one.json" "oci:$work/configured" --quiet >"$work/digest"
same "$(<"$work/digest")" "$(<"$work/expected.digest")"

# Serving without the closure.
port=$(free_port)
# The command is not in a function, so that the killed process is the server.
"${apart[@]}" bash -c "$enter" "$work/empty" "$strata" serve "served:t=$work/one.json" --listen "127.0.0.1:$port" \
  --substituter "$cache_url" >"$work/served" &
servers+=($!)
wait_for $! grep -q served "$work/served"
skopeo copy --quiet --src-tls-verify=false "docker://$(<"$work/served")" "oci:$work/by-serve:t"
"$strata" verify "$work/by-serve" | grep -q ' 0 problems$' || fail "verify finds problems in the served image"

# Failing caches: the next cache is used, and the received bytes are kept.
copy() { rm -rf "$work/out"; in_empty_store "$strata" copy "$work/one.json" "oci:$work/out" --quiet "$@" >"$work/digest" 2>"$work/log"; }
copy_succeeds() { copy "$@" || { cat "$work/log" >&2; fail "copy $*"; }; same "$(<"$work/digest")" "$(<"$work/expected.digest")"; }
copy_fails() {
  local needle=$1
  shift
  if copy "$@"; then fail "this should fail: $*"; fi
  grep -qF -- "$needle" "$work/log" || { cat "$work/log" >&2; fail "the message lacks: $needle"; }
  [[ ! -s $work/digest ]] || fail "a digest is printed"
}
some=$(jq -r '.layers[0].paths[0].path' "$one")
for fault in missing broken liar other; do
  start_cache $fault
  url=$cache_url
  copy_fails "$url" --substituter "$url"
  case $fault in
    missing)
      grep -qF "does not have it" "$work/log" && grep -qF "nix copy --to $url $one" "$work/log" || { cat "$work/log"; fail "no way out"; } ;;
    liar) grep -qF "is not reproducible" "$work/log" || { cat "$work/log"; fail "no reason"; } ;;
  esac
  # Wrong bytes of a cache are detected at their end, when they are in the layer.
  [[ $fault == other ]] || copy_succeeds --substituter "$url" --substituter "file://$work/binary"
done
# A failing cache is retried a few times, and then asked once for each path. The next cache is used.
start_cache down
url=$cache_url
copy_fails "500" --substituter "$url"
: >"$cache_log"
copy_succeeds --substituter "$url" --substituter "file://$work/binary"
paths=$(jq '[.layers[].paths[].path] | unique | length' "$one")
# Several layers may detect the failure at the same time.
(($(wc -l <"$cache_log") <= paths + 16)) || fail "$(wc -l <"$cache_log") requests for $paths paths"
start_cache busy:3
copy_succeeds --substituter "$cache_url"
start_cache slow
copy_succeeds --substituter "$cache_url"
# The cache fails in the middle of a NAR: the next cache continues.
start_cache gone:3
copy_succeeds --substituter "$cache_url" --substituter "file://$work/binary"
start_cache gone:2
copy_fails "$cache_url" --substituter "$cache_url"
grep -qF /nix/store/ "$work/log" || { cat "$work/log"; fail "no path is named"; }
[[ ! -e $work/out/index.json ]] || fail "half of a layout stays"
start_cache cut:3
copy_succeeds --substituter "$cache_url"
grep -q ' 206 ' "$cache_log" || fail "nothing was resumed"
start_cache cut-whole:2
copy_succeeds --substituter "$cache_url"
copy_fails "opening $work/missing" --substituter "file://$work/missing"
copy_fails "strata cannot read the binary cache ssh://host" --substituter ssh://host
# The registry has no wrong blobs.
start_cache other
if in_empty_store "$strata" copy "$work/one.json" "docker://$registry/wrong:t" --substituter "$cache_url" --quiet 2>"$work/log" >&2; then fail "pushed"; fi
if "$strata" manifest "$registry/wrong:t" >/dev/null 2>&1; then fail "a tag of a push that failed"; fi

# Private caches. Passwords and headers are not sent to other hosts.
start_cache password
copy_fails 401 --substituter "$cache_url"
echo "machine 127.0.0.1 login me password secret" >"$work/netrc"
NETRC=$work/netrc copy_succeeds --substituter "$cache_url"
start_cache header
echo "X-Token: secret" >"$work/headers"
copy_succeeds --substituter "$cache_url" --header "@$work/headers"
start_cache redirect
NETRC=$work/netrc copy_succeeds --substituter "$cache_url" --header "X-Token: secret"
[[ -s $cache_log.elsewhere ]] || fail "the other host was not asked"
lacks -e secret -e Basic "$cache_log.elsewhere"
