# The dry run of a release: two runs with the same bytes, checksums and their signature, an SBOM, and an image of strata
# that copies images in docker and podman.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
version=0.0.0-test out=$root/target/release-0.0.0-test
trap 'rm -rf "$out"' EXIT
openssl ecparam -name prime256v1 -genkey -noout -out "$work/key.pem"
openssl ec -in "$work/key.pem" -pubout -out "$work/key.pub" 2>/dev/null
export STRATA_TARGETS STRATA_SIGN_KEY=$work/key.pem
STRATA_TARGETS=$(uname -m)
skip_part "other architectures than $STRATA_TARGETS are built by dev/release alone"
"$root/dev/release" "$version" --dry-run >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "the dry run"; }
cp "$out/SHA256SUMS" "$work/first"
"$root/dev/release" "$version" --dry-run >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "the second dry run"; }
same "$(<"$out/SHA256SUMS")" "$(<"$work/first")"
(cd "$out" && sha256sum --check --quiet SHA256SUMS)
base64 -d "$out/SHA256SUMS.sig" >"$work/signature"
openssl dgst -sha256 -verify "$work/key.pub" -signature "$work/signature" "$out/SHA256SUMS" >/dev/null
jq -e '.specVersion == "1.6" and .metadata.component.version == "'"$version"'" and (.components | length) > 50
  and all(.components[]; .purl | startswith("pkg:cargo/"))' "$out/strata-$version.cdx.json" >/dev/null || fail "the SBOM"
tar -xzf "$out/strata-$version-$STRATA_TARGETS-linux.tar.gz" -C "$work"
[[ $("$work/strata-$version-$STRATA_TARGETS-linux/bin/strata" --version) == "strata "* ]] || fail "the program in the archive"

# The program in the image copies an image to a registry.
start_registry "$work/registry"
trap 'rm -rf "$out"; stop_registry' EXIT
greeter greeting:t hello >/dev/null
"$strata" copy "$(greeter greeting:t hello)" "oci:$work/layout:t" >/dev/null
reference=$("$strata" copy "oci:$out/image:$version" "docker-daemon:strata:$version")
docker run --rm --network host --volume "$work/layout:/layout:ro" "$reference" \
  copy oci:/layout:t "docker://$registry/docker:t" >/dev/null
cat >"$work/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
CONF
export CONTAINERS_CONF=$work/containers.conf
reference=$("$strata" copy "oci:$out/image:$version" "containers-storage:localhost/strata:$version")
podman run --rm --network host --volume "$work/layout:/layout:ro" "$reference" \
  copy oci:/layout:t "docker://$registry/podman:t" >/dev/null
same "$("$strata" manifest "$registry/podman:t")" "$("$strata" manifest "$registry/docker:t")"
docker rmi "strata:$version" >/dev/null
podman rmi "localhost/strata:$version" >/dev/null
