# strata serve with TLS, passwords, an access log and metrics. Documents are served byte for byte, to many clients at
# once, some of which do not read.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
for command in jq curl openssl skopeo; do need_command "$command"; done
cd "$work"
digests=$(python3 "$root/tests/peers/layout.py" "$work/layout")
digest() { jq -r ".$1" <<<"$digests"; }

# A CA, and a certificate that it signed.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout authority.key \
  -out authority.crt 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout key.pem -out request 2>/dev/null
openssl x509 -req -in request -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 -out cert.pem \
  -extfile <(echo "subjectAltName = IP:127.0.0.1, DNS:localhost") 2>/dev/null
mkdir certs
cp authority.crt certs
# The test vector of bcrypt: the password is U*U.
echo 'me:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW' >users

serve() {
  : >references
  "$strata" serve --listen 127.0.0.1:0 "$@" >references 2>serve.log &
  server=$!
  wait_for "$server" test -s references || { cat serve.log; fail "serve ends"; }
  host=$(head -n 1 references | cut -d / -f 1)
}
stop() { kill -TERM "$server" 2>/dev/null || return 0; wait "$server"; }
trap stop EXIT

serve --tls-cert cert.pem --tls-key key.pem --basic-auth-file users --access-log access.log --metrics "team/app:v1=oci:layout:v1"
same "$(<references)" "$host/team/app:v1"
get() { curl --silent --show-error --cacert authority.crt "https://$host$1" "${@:2}"; }
status() { get "$1" --output /dev/null --write-out '%{http_code}' "${@:2}"; }

# Without a password, every request is refused, and reveals nothing.
same "$(status /v2/)" 401
same "$(status /v2/team/app/manifests/v1)" 401
same "$(status /metrics)" 401
same "$(status /v2/ --user me:wrong)" 401
same "$(status /v2/ --user you:U\*U)" 401
get /v2/ --dump-header headers >body
grep -qi '^www-authenticate: Basic realm=' headers || { cat headers; fail "no challenge"; }
same "$(jq -r '.errors[0].code' body)" UNAUTHORIZED
same "$(status /v2/ --user 'me:U*U')" 200
if curl --silent --show-error "http://$host/v2/" >/dev/null 2>&1; then fail "it answers without TLS"; fi

# Every document by its digest, byte for byte.
user=(--user 'me:U*U')
for name in index nested amd64 arm64 bill signature; do
  get "/v2/team/app/manifests/$(digest "$name")" "${user[@]}" >body
  same "sha256:$(sha256sum <body | cut -d ' ' -f 1)" "$(digest "$name")"
done
get /v2/team/app/manifests/v1 "${user[@]}" | cmp - "layout/blobs/$(digest index | tr : /)"
same "$(get "/v2/team/app/referrers/$(digest index)" "${user[@]}" | jq -c '[.manifests[] | [.digest, .artifactType, .annotations.note]]')" \
  "[[\"$(digest bill)\",\"application/x-bill\",\"bill\"]]"
same "$(get "/v2/team/app/referrers/$(digest bill)?artifactType=application/x-other" "${user[@]}" | jq -c .manifests)" "[]"

# Clients of other projects, and strata.
# skopeo does not support nested indexes.
skopeo copy --quiet --src-cert-dir certs --src-creds 'me:U*U' "docker://$host/team/app@$(digest arm64)" oci:by-skopeo:v1
same "$(jq -r '.manifests[0].digest' by-skopeo/index.json)" "$(digest arm64)"
export HOME=$work/home XDG_CACHE_HOME=$work/cache
"$strata" login "$host" --username me --password-stdin --cert-dir certs <<<'U*U' >log 2>&1 || { cat log; fail "login"; }
same "$("$strata" copy --all "docker://$host/team/app:v1" oci:by-strata:v1 --cert-dir certs --quiet)" "$(digest index)"
if "$strata" login "$host" --username me --password-stdin --cert-dir certs <<<'wrong' >log 2>&1; then fail "login with a wrong password"; fi
if "$strata" manifest "$host/team/app:v1" --cert-dir certs --no-creds >log 2>&1; then fail "it is given to anybody"; fi
same "$("$strata" manifest "$host/team/app:v1" --referrers --cert-dir certs --creds 'me:U*U' --platform linux/arm64 | jq '.manifests | length')" 0

# The log has a line for each response, the metrics have counts, and neither has passwords.
get "/v2/team/app/blobs/$(digest bill)" "${user[@]}" --user-agent 'odd"agent' >/dev/null
grep -qE "^127\.0\.0\.1 - me \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8} \+0000\] \"GET /v2/team/app/blobs/[^ ]* HTTP/1\.1\" 404 [0-9]+ \"-\" \"odd\\\\x22agent\"$" access.log ||
  { cat access.log; fail "the answer is not in the log"; }
grep -qE '^127\.0\.0\.1 - - \[.*\] "GET /v2/ HTTP/1\.1" 401 ' access.log || { cat access.log; fail "the refused request is not in the log"; }
get /metrics "${user[@]}" >metrics
refused=$(grep -c '" 401 ' access.log)
same "$(awk '/^strata_http_requests_total\{.*code="401"/ { sum += $2 } END { print sum }' metrics)" "$refused"
grep -qE '^strata_http_connections [1-9]' metrics || { cat metrics; fail "no connection is counted"; }
lacks -rqE 'U\*U|bWU6VSpV' access.log metrics serve.log log
stop

# Errors of invalid files.
fails() {
  if "$strata" serve --listen 127.0.0.1:0 app:v1=oci:layout:v1 "${@:2}" >/dev/null 2>log; then fail "this should fail: ${*:2}"; fi
  grep -qF -- "$1" log || { cat log; fail "the message lacks: $1"; }
}
openssl ecparam -name prime256v1 -genkey -noout -out other.pem 2>/dev/null
fails "the certificate of cert.pem and the key of other.pem cannot be used" --tls-cert cert.pem --tls-key other.pem
fails "cert.pem has no private key in PEM form" --tls-cert cert.pem
fails "users has no certificate in PEM form" --tls-cert users --tls-key key.pem
fails "reading nothing.pem" --tls-cert nothing.pem
echo 'me:{SHA}AQw+HpiRgvfPjhJNNxp8VXTPGBs=' >sha
fails "sha, line 1: the password is not hashed with bcrypt; htpasswd -B writes such files" --basic-auth-file sha
lacks -q AQw log
cat key.pem cert.pem >both.pem
serve --tls-cert both.pem app:v1=oci:layout:v1
same "$(curl --silent --cacert authority.crt "https://$host/v2/app/tags/list")" '{"name":"app","tags":["v1"]}'
stop

# 1,000 clients at once, and 20 that do not read.
serve app:v1=oci:layout:v1
layers=$(jq -r '.layers[].digest' "layout/blobs/$(digest arm64 | tr : /)")
big=${layers%%$'\n'*} small=${layers##*$'\n'}
ulimit -n "$(ulimit -H -n)"
python3 "$root/tests/peers/crowd.py" "$host" app "$small" 1000 "$big" 20 >crowd.log 2>&1 || { tail -n 5 crowd.log; fail "a crowd"; }
peak=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$server/status")
echo "1,000 clients: $peak kB"
((peak < 256 * 1024)) || fail "serving 1,000 clients takes $peak kB"
stop
