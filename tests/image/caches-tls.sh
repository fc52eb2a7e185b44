# Binary caches with TLS that require a client certificate (Nix 2.34's tls-certificate and tls-private-key), caches that
# refuse credentials, and unknown settings in the URL of a cache.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command openssl
export XDG_CACHE_HOME=$work/cache HOME=$work/home
mkdir -p "$work/home" "$work/empty"
apart=(unshare --mount --propagation private)
((EUID == 0)) || apart+=(--user --map-root-user)
servers=()
trap 'for server in "${servers[@]}"; do kill "$server" 2>/dev/null || continue; done' EXIT
# in_empty_store COMMAND…: runs the command on a machine with an empty store.
in_empty_store() { "${apart[@]}" bash -c 'mount --bind "$0" /nix/store; exec "$@"' "$work/empty" "$@"; }
# start_cache FAULT [CERTIFICATE KEY [CA]]: starts a cache, and sets port and cache_log.
start_cache() {
  local at
  at=$(mktemp -d -p "$work")
  python3 "$root/tests/peers/cache.py" "$work/binary" "$at/port" "$at/log" "$@" 2>"$at/errors" &
  servers+=($!)
  : >"$at/log"
  wait_for $! test -e "$at/port"
  port=$(<"$at/port") cache_log=$at/log
}

image='(buildImage { name = "tls"; copyToRoot = [ pkgs.hello ]; })'
recipe=$(build "$image")
cp "$(build "$image.detached")" "$work/detached.json"
nix copy --no-check-sigs --to "file://$work/binary" "$recipe" 2>"$work/log" || { cat "$work/log"; exit 1; }
"$strata" copy "$recipe" "oci:$work/expected" --quiet >"$work/expected.digest"
copies() {
  rm -rf "$work/out"
  in_empty_store "$strata" copy "$work/detached.json" "oci:$work/out" --quiet "$@" >"$work/digest" 2>"$work/log" || { cat "$work/log"; fail "copy $*"; }
  same "$(<"$work/digest")" "$(<"$work/expected.digest")"
}
# refuses TEXT ARGUMENTS…: expects that a copy fails with the text.
refuses() {
  rm -rf "$work/out"
  if in_empty_store "$strata" copy "$work/detached.json" "oci:$work/out" --quiet "${@:2}" >"$work/digest" 2>"$work/log"; then fail "this should fail: ${*:2}"; fi
  grep -qiF -- "$1" "$work/log" || { cat "$work/log"; fail "the message of ${*:2} lacks: $1"; }
}

cd "$work"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt 2>/dev/null
for name in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" 2>/dev/null
  openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out "$name.crt" \
    -extfile <(printf 'subjectAltName = IP:127.0.0.1, DNS:localhost\nextendedKeyUsage = serverAuth, clientAuth\n') 2>/dev/null
done
# The CA has not signed this certificate.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=other -keyout other.key -out other.crt 2>/dev/null
mkdir "with space"
cp client.crt client.key "with space"
cat client.crt client.key >both.pem
unset NIX_SSL_CERT_FILE
export SSL_CERT_FILE=$work/ca.crt

start_cache none server.crt server.key ca.crt
url=https://127.0.0.1:$port
copies --substituter "$url?tls-certificate=$work/client.crt&tls-private-key=$work/client.key"
(($(wc -l <"$cache_log") > 2)) || fail "the cache was not asked"
copies --substituter "$url?tls-certificate=$work/with%20space/client.crt&tls-private-key=$work/with%20space/client.key&priority=10"
copies --substituter "$url?tls-certificate=$work/both.pem"
# The same settings in Nix's configuration.
NIX_CONFIG="substituters = $url?tls-certificate=$work/client.crt&tls-private-key=$work/client.key" copies
: >"$cache_log"
refuses "certificate" --substituter "$url"
refuses "UnknownCA" --substituter "$url?tls-certificate=$work/other.crt&tls-private-key=$work/other.key"
refuses "$work/none.crt" --substituter "$url?tls-certificate=$work/none.crt"
refuses "client.key" --substituter "$url?tls-certificate=$work/client.key&tls-private-key=$work/client.key"
refuses "tls-private-key needs tls-certificate" --substituter "$url?tls-private-key=$work/client.key"
refuses "have different tls-certificate settings" --substituter "$url?tls-certificate=$work/both.pem" --substituter "$url?tls-certificate=$work/client.crt&tls-private-key=$work/client.key"
same "$(wc -l <"$cache_log")" 0
# A server at another origin, which has the NARs, gets no certificate.
start_cache redirect server.crt server.key optional:ca.crt
copies --substituter "https://127.0.0.1:$port?tls-certificate=$work/both.pem"
same "$(sort -u "$cache_log.clients")" "127.0.0.1 client"$'\n'"localhost none"

# Responses that ask for credentials are failures of the cache. The next cache has the paths.
for status in 401 407; do
  start_cache "status:$status"
  refuses "$status" --substituter "http://127.0.0.1:$port"
  copies --substituter "http://127.0.0.1:$port" --substituter "file://$work/binary"
done
for status in 403 404 410; do
  start_cache "status:$status"
  refuses "does not have it" --substituter "http://127.0.0.1:$port"
done

copies --substituter "file://$work/binary?compresion=zstd&priority=1"
grep -qF "compresion" "$work/log" || { cat "$work/log"; fail "no warning about a setting that Nix does not have"; }
same "$(wc -l <"$work/log")" 1
copies --substituter "file://$work/binary?compression=zstd&priority=1&trusted=true"
silent cat "$work/log"
