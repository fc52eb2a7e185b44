# Real registries, each with TLS and passwords, with tokens, and without a login: Debian's docker-registry 2.8,
# distribution 3 and crane's registry, for which front.py adds the login. (zot's module is not on the Go module proxy.)
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
for command in go jq openssl docker-registry; do need_command "$command"; done
programs=(docker-registry)
if from_go github.com/distribution/distribution/v3/cmd/registry@v3.0.0 registry; then programs+=(registry); fi
crane=
if from_go github.com/google/go-containerregistry/cmd/crane@v0.20.6 crane; then crane=1; fi
export XDG_CACHE_HOME=$work/cache HOME=$work/home REGISTRY_AUTH_FILE=$work/none.json
cd "$work"

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout authority.key -out authority.crt 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request 2>/dev/null
openssl x509 -req -in request -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 -out cert.pem \
  -extfile <(echo "subjectAltName = IP:127.0.0.1, DNS:localhost") 2>/dev/null
mkdir certs
cp authority.crt certs
# The test vector of bcrypt: the password is U*U.
echo 'me:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW' >users
digests=$(python3 "$root/tests/peers/layout.py" "$work/layout")
digest() { jq -r ".$1" <<<"$digests"; }

pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid"; wait "$pid" || true; done 2>/dev/null; pids=(); }
trap stop EXIT
# registry_of PROGRAM NAME CONFIG HTTP: starts the registry, and sets $host.
registry_of() {
  local port
  port=$(free_port)
  mkdir -p "$2"
  host=127.0.0.1:$port
  cat >"$2/config.yml" <<YAML
version: 0.1
storage: { filesystem: { rootdirectory: $work/$2/data } }
http: { addr: "$host", secret: x$4 }
$3
YAML
  env -u REGISTRY_AUTH_FILE "$1" serve "$2/config.yml" >"$2/log" 2>&1 &
  pids+=($!)
  wait_for_port "$!" "$port" || { cat "$2/log"; fail "$1 ends"; }
}
tls=", tls: { certificate: $work/cert.pem, key: $work/key.pem }"
copy() { "$strata" copy "$@" 2>log || { cat log; fail "copy $*"; }; }
sent() { if [[ -s log ]]; then sed -n 's|^pushed \([0-9]*\) of .*|\1|p' log; else echo 0; fi; }
fails() {
  if "$strata" copy "${@:2}" >/dev/null 2>log; then fail "this should fail: ${*:2}"; fi
  grep -qiF -- "$1" log || { cat log; fail "the message lacks: $1"; }
}
# everything HOST FLAGS…: an index is pushed, pushed again by a machine without a cache, with its referrers, mounted in
# another repository, pushed twice to one tag at once, and copied back.
everything() {
  local there=$1 of
  shift
  of=("${@}")
  same "$(copy --all oci:layout:v1 "docker://$there/app:v1" "${of[@]}")" "$(digest index)"
  rm -rf cache
  copy --all oci:layout:v1 "docker://$there/app:v1" "${of[@]}" >out
  same "$(sent)" 0
  copy --all --referrers oci:layout:v1 "docker://$there/app:v1" "${of[@]}" >out
  same "$("$strata" manifest "$there/app:v1" --referrers "${of[@]}" 2>log | jq -c '[.manifests[].digest]')" "[\"$(digest bill)\"]"
  copy --all "docker://$there/app:v1" "docker://$there/other/app:v2" "${of[@]}" >out
  same "$(sent)" 0
  copy --all --referrers "docker://$there/app:v1" "oci:back-${there#*:}:v1" "${of[@]}" --quiet >out
  for name in index nested amd64 arm64 bill signature; do
    cmp "layout/blobs/$(digest "$name" | tr : /)" "back-${there#*:}/blobs/$(digest "$name" | tr : /)"
  done
  # Two pushes at once: the tag has one of the images, complete.
  "$strata" copy oci:layout:v1 --platform linux/amd64 "docker://$there/race:t" "${of[@]}" --quiet >one 2>one.log & local first=$!
  "$strata" copy oci:layout:v1 --platform linux/arm64 "docker://$there/race:t" "${of[@]}" --quiet >two 2>two.log & local second=$!
  wait "$first" || { cat one.log; fail "the first of two pushes"; }
  wait "$second" || { cat two.log; fail "the second of two pushes"; }
  won=$(copy "docker://$there/race:t" "oci:race-${there#*:}:t" "${of[@]}" --quiet)
  [[ $won == "$(<one)" || $won == "$(<two)" ]] || fail "the tag is $won, which was not pushed"
  "$strata" verify "race-${there#*:}" | grep -q ' 0 problems$' || fail "the tag is broken"
}

# The token server: sets $realm.
start_tokens() {
  rm -f port tokens
  : >tokens
  python3 "$root/tests/peers/tokens.py" key.pem cert.pem issuer service port tokens 2>tokens.log &
  pids+=($!)
  wait_for "$!" test -s port || { cat tokens.log; fail "the token server ends"; }
  realm=https://127.0.0.1:$(<port)/token
}
# $host requires the login me:U*U.
with_passwords() {
  fails "log in first" oci:layout:v1 "docker://$host/app:v1" --cert-dir certs --platform linux/amd64
  fails "401" oci:layout:v1 "docker://$host/app:v1" --cert-dir certs --platform linux/amd64 --dest-creds me:wrong
  "$strata" login "$host" --username me --password-stdin --cert-dir certs <<<'U*U' >out 2>&1 || { cat out; fail "login"; }
  everything "$host" --cert-dir certs
  "$strata" logout "$host" 2>out || { cat out; fail "logout"; }
  fails "log in first" --all "docker://$host/app:v1" oci:nothing:v1 --cert-dir certs
}
# $host requires tokens of another server.
with_tokens() {
  # --cert-dir applies to the registry. The certificate of the token server is trusted by its certs.d.
  local server=${realm#https://}
  mkdir -p "$HOME/.config/containers/certs.d/${server%%/*}"
  cp certs/*.crt "$HOME/.config/containers/certs.d/${server%%/*}/"
  fails "401" oci:layout:v1 "docker://$host/app:v1" --cert-dir certs --platform linux/amd64 --creds me:wrong
  fails "log in" oci:layout:v1 "docker://$host/app:v1" --cert-dir certs --platform linux/amd64
  everything "$host" --cert-dir certs --creds me:secret
  # Public images can be pulled without a login.
  copy --all "docker://$host/app:v1" oci:anonymous:v1 --cert-dir certs --no-creds --quiet >out
  fails "log in" --all "docker://$host/other/app:v2" oci:nothing:v1 --cert-dir certs --no-creds
}
no_secrets() { lacks -rqE 'U\*U|secret|bWU6c2VjcmV0' "$@" log out tokens; }

for program in "${programs[@]}"; do
  registry_of "$program" "$program-basic" "auth: { htpasswd: { realm: test, path: $work/users } }" "$tls"
  with_passwords
  start_tokens
  registry_of "$program" "$program-token" "auth: { token: { realm: \"$realm\", service: service, issuer: issuer,
    rootcertbundle: $work/authority.crt } }" "$tls"
  with_tokens
  # A mount requires a token for both repositories. (crane's registry has one directory of blobs: nothing is mounted.)
  grep -q '^me repository:app:pull repository:other/app:pull,push$' tokens || { cat tokens; fail "no token for both repositories"; }
  no_secrets "$program"-*/log
  stop
done

[[ $crane ]] || exit 0
# Starts crane's registry without a login, and sets $port.
start_crane() {
  port=$(free_port)
  crane registry serve --address "127.0.0.1:$port" >crane.log 2>&1 &
  pids+=($!)
  wait_for_port "$!" "$port" || { cat crane.log; fail "crane ends"; }
}
# Starts crane's registry behind front.py, and sets $host.
fronted() {
  start_crane
  rm -f front
  python3 "$root/tests/peers/front.py" key.pem cert.pem "127.0.0.1:$port" front "$@" 2>front.log &
  pids+=($!)
  wait_for "$!" test -s front || { cat front.log; fail "front.py ends"; }
  host=127.0.0.1:$(<front)
}
start_crane
everything "127.0.0.1:$port"
fronted basic
with_passwords
start_tokens
fronted bearer "$realm" service
with_tokens
no_secrets crane.log front.log
