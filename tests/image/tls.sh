# Registries with TLS: private CAs, client certificates, self-signed certificates, and registries without TLS.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command openssl
need_command skopeo
export XDG_CACHE_HOME=$work/cache
image=$(build 'buildImage { name = "x"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')

# A CA, a certificate for the registry, and one for the client.
mkdir "$work/certs"
cd "$work"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
  -keyout authority.key -out certs/authority.crt 2>/dev/null
sign() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$2.key" -out "$2.csr" 2>/dev/null
  openssl x509 -req -in "$2.csr" -CA certs/authority.crt -CAkey authority.key -CAcreateserial -days 2 -out "$2.cert" \
    -extfile <(echo "subjectAltName = IP:127.0.0.1
extendedKeyUsage = serverAuth, clientAuth") 2>/dev/null
}
sign registry server
sign me certs/client

tls() { echo "  tls: { certificate: $work/server.cert, key: $work/server.key$1 }"; }
# fails TEXT ARGUMENTS…
fails() {
  "$strata" copy "$image" "${@:2}" >/dev/null 2>"$work/log" && fail "this should fail: ${*:2}"
  grep -qiF -- "$1" "$work/log" || { cat "$work/log" >&2; fail "the message lacks: $1"; }
}
start_registry "$work/one" "" "$(tls "")"
trap 'stop_registry' EXIT
# A loopback registry may lack TLS, but an untrusted certificate is refused.
fails "certificate" "docker://$registry/x:t"
digest=$("$strata" copy "$image" "docker://$registry/x:t" --dest-cert-dir "$work/certs" --quiet)
same "$("$strata" copy "$image" "docker://$registry/x:t" --dest-tls-verify=false --quiet)" "$digest"
same "$(env -u NIX_SSL_CERT_FILE SSL_CERT_FILE="$work/certs/authority.crt" "$strata" copy "$image" "docker://$registry/x:t" --quiet)" "$digest"
same "$("$strata" pull "$registry/x:t" "$work/pulled" --cert-dir "$work/certs")" "$digest"
# An option for the other side is refused.
fails "--src-tls-verify is for images in registries" "docker://$registry/x:t" --src-tls-verify=false
stop_registry

start_registry "$work/two" "" "$(tls ", clientcas: [$work/certs/authority.crt]")"
mkdir "$work/authority"
cp "$work/certs/authority.crt" "$work/authority"
fails "ertificate" "docker://$registry/x:t" --cert-dir "$work/authority"
"$strata" copy "$image" "docker://$registry/x:t" --cert-dir "$work/certs" --quiet >/dev/null
# Certificates of X.509 version 1, which `openssl x509 -req` writes without extensions, and keys of `openssl ecparam`,
# which begin with the parameters of the curve. skopeo and docker send both.
for options in "" -noout; do
  openssl ecparam -name prime256v1 -genkey $options -out certs/client.key
  openssl req -new -key certs/client.key -subj /CN=me -out me.csr
  openssl x509 -req -in me.csr -CA certs/authority.crt -CAkey authority.key -days 2 -out certs/client.cert 2>/dev/null
  openssl x509 -in certs/client.cert -noout -text | grep -q 'Version: 1 ' || fail "openssl writes another version"
  same "$("$strata" manifest "$registry/x:t" --cert-dir "$work/certs" | sha256sum)" "${digest#sha256:}  -"
done
rm "$work/certs/client.key"
fails "reading the certificates in $work/certs/client.key" "docker://$registry/x:t" --cert-dir "$work/certs"
stop_registry

# One certificate that is both CA and server certificate, as `openssl req -x509` makes it. Go's clients accept it in
# certs.d.
alone() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=registry \
    -addext "subjectAltName = $2" -keyout "$1.key" -out "$1.cert" 2>/dev/null
  openssl x509 -in "$1.cert" -noout -text | grep -q CA:TRUE || fail "openssl makes other certificates"
  mkdir "$1"
  cp "$1.cert" "$1/ca.crt"
}
alone alone IP:127.0.0.1
alone another IP:127.0.0.1
alone misnamed IP:127.0.0.2
start_registry "$work/three" "" "  tls: { certificate: $work/alone.cert, key: $work/alone.key }"
same "$("$strata" copy "$image" "docker://$registry/x:t" --cert-dir alone --quiet)" "$digest"
same "$("$strata" pull "$registry/x:t" "$work/again" --cert-dir alone)" "$digest"
same "$(env -u NIX_SSL_CERT_FILE SSL_CERT_FILE="$work/alone.cert" "$strata" manifest "$registry/x:t" | sha256sum)" \
  "${digest#sha256:}  -"
skopeo copy --quiet --src-cert-dir alone "docker://$registry/x:t" "dir:$work/by_skopeo"
fails "its certificate is not trusted" "docker://$registry/x:t"
fails "its certificate is not trusted" "docker://$registry/x:t" --cert-dir another
stop_registry
start_registry "$work/four" "" "  tls: { certificate: $work/misnamed.cert, key: $work/misnamed.key }"
fails "not valid for name" "docker://$registry/x:t" --cert-dir misnamed
