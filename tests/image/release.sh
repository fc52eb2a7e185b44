# The dry run of a release: two runs with the same bytes, checksums and their signature, an SBOM, and an image of strata
# that copies images in docker and podman.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
version=0.0.0-test out=$root/target/release-0.0.0-test
trap 'rm -rf "$out"' EXIT
rm -rf "$out"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key.pem" 2>/dev/null
export STRATA_TARGETS STRATA_SIGN_KEY=$work/key.pem
STRATA_TARGETS=$(uname -m)
# refused TEXT [ARGUMENT…]: an error that contains TEXT, before anything is built.
refused() {
  if "$root/dev/release" "$version" "${@:2}" >"$work/log" 2>&1; then fail "dev/release ${*:2} is accepted"; fi
  grep -qF -- "$1" "$work/log" || { cat "$work/log" >&2; fail "the message of dev/release ${*:2} lacks: $1"; }
  [[ ! -e $out ]] || fail "dev/release ${*:2} made files"
}
openssl genpkey -algorithm RSA -out "$work/rsa.pem" 2>/dev/null
STRATA_SIGN_KEY=$work/rsa.pem refused "is no EC P-256 key" --dry-run
STRATA_SIGN_KEY=$root/key.pem refused "the key is in the work tree" --dry-run
(cd "$root" && STRATA_SIGN_KEY=key.pem refused "the key is in the work tree" --dry-run)
# Only a real release is pushed, and only with the profile and the architectures of releases.
refused "--dry-run pushes nothing" --dry-run --push docker://registry.example.com/strata:1
refused "not a registry" --push oci:image:1
refused "are for --dry-run; unset them"
skip_part "other architectures than $STRATA_TARGETS are built by dev/release alone"
"$root/dev/release" "$version" --dry-run >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "the dry run"; }
cp "$out/SHA256SUMS" "$work/first"
# The second run is in another directory, where the program is the same. docs/releasing.md has builds of the program in two.
elsewhere=$work/another-directory
git clone --quiet "$root" "$elsewhere"
git -C "$root" ls-files -z | tar -C "$root" --null -cT - | tar -x -C "$elsewhere"
install -D "$strata" "$elsewhere/${strata#"$root/"}"
ln -s "$cache" "$elsewhere/.cache"
"$elsewhere/dev/release" "$version" --dry-run >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "the second dry run"; }
same "$(<"$elsewhere/target/release-$version/SHA256SUMS")" "$(<"$work/first")"
(cd "$out" && sha256sum --check --quiet SHA256SUMS)
# The checksums are those of the files to upload, and cover the image by its digest.
same "$(awk '{ print $2 }' "$out/SHA256SUMS" | tr '\n' ' ')" "IMAGE-DIGEST TOOLCHAIN strata-$version-$STRATA_TARGETS-linux.tar.gz strata-$version.cdx.json "
same "$(<"$out/IMAGE-DIGEST")" "$(jq -r '.manifests[].digest' "$out/image/index.json")"
grep -qx "$(rustc --version)" "$out/TOOLCHAIN" || { cat "$out/TOOLCHAIN" >&2; fail "the versions of the toolchain"; }
base64 -d "$out/SHA256SUMS.sig" >"$work/signature"
openssl dgst -sha256 -verify "$out/strata-release.pub" -signature "$work/signature" "$out/SHA256SUMS" >/dev/null
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
