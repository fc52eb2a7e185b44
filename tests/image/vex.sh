# strata vex and copy --vex: vulnerabilities that patches fix, in documents for scanners.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
need_command openssl
start_registry "$work/registry"
trap 'stop_registry' EXIT
cd "$work"

printf 'Subject: fix CVE-2024-1111\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-CVE-2024-9999\n+CVE-2024-9999\n' >header.patch
image=$(build 'let
    patch = name: builtins.toFile name "--- a/x\n+++ b/x\n";
    tool = pkgs.runCommand "tool-1.2" { patches = [ (patch "CVE-2024-2222.patch") (patch "cve_2023_33333-and-more.diff") '"$work/header.patch"' (patch "other.patch") ]; } "mkdir $out; echo tool >$out/x";
    plain = pkgs.runCommand "plain-3.4" { patches = [ (patch "fix-build.patch") ]; } "mkdir $out; echo plain >$out/x";
  in buildImage { name = "app"; tag = "1"; created = "2026-01-02T03:04:05Z"; config.Env = [ "TOOL=${tool}" "PLAIN=${plain}" ]; }')

"$strata" vex "$image" >openvex.json 2>log || { cat log; fail "strata vex"; }
same "$(jq -r '.statements[] | "\(.vulnerability.name) \(.status) \(.status_notes)"' openvex.json)" \
"CVE-2023-33333 fixed patch cve_2023_33333-and-more.diff
CVE-2024-1111 fixed patch header.patch, by its header
CVE-2024-2222 fixed patch CVE-2024-2222.patch"
same "$(jq -r '.timestamp' openvex.json)" 2026-01-02T03:04:05Z
# Packages have the package URLs of the SBOM.
"$strata" sbom "$image" >bom.json
purl=$(jq -r '.components[] | select(.name == "tool") | .purl' bom.json)
same "$(jq -r '.statements[] | .products[0].subcomponents[0]["@id"], .products[1]["@id"]' openvex.json | sort -u)" "$purl"
same "$("$strata" vex "$image" 2>/dev/null | sha256sum)" "$(sha256sum <openvex.json)"

# A team's own statements, and those that the specification does not allow.
write_statement() { printf '{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/1","author":"x","timestamp":"2026-02-01T00:00:00Z","version":1,"statements":[{"vulnerability":{"name":"CVE-2022-1"},%s}]}' "$1" >team.json; }
write_statement '"status":"not_affected","justification":"vulnerable_code_not_in_execute_path"'
"$strata" vex "$image" --vex team.json --author "The team" >merged.json 2>log
same "$(jq -c '[(.statements | length), .author, .statements[3].status, .statements[3].timestamp, (.statements[3].products[0]["@id"] | startswith("pkg:oci/app@sha256%3A"))]' merged.json)" \
  '[4,"The team","not_affected","2026-02-01T00:00:00Z",true]'
"$strata" vex "$image" --vex team.json --format cyclonedx >cyclonedx.json 2>log
same "$(jq -c '.vulnerabilities | map([.id, .analysis.state])' cyclonedx.json)" \
  '[["CVE-2023-33333","resolved"],["CVE-2024-1111","resolved"],["CVE-2024-2222","resolved"],["CVE-2022-1","not_affected"]]'
same "$(jq -c '.vulnerabilities[0].affects' cyclonedx.json)" "[{\"ref\":\"$purl\"}]"
for statement in '"status":"not_affected"' '"status":"not_affected","justification":"harmless"' '"status":"affected"'; do
  write_statement "$statement"
  status=0; "$strata" vex "$image" --vex team.json >out 2>log || status=$?
  same "$status" 2
  grep -q 'team.json is not an OpenVEX document' log || { cat log; fail "$statement"; }
done

# Without a patch, there are no statements.
none=$(build 'buildImage { name = "none"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
status=0; "$strata" vex "$none" >out 2>log || status=$?
same "$status" 2
grep -q 'no patch has a CVE number' log || { cat log; fail "an image without patches"; }

# Attached next to the SBOM: one document about the digest in the registry, with the statements of the patches and of the team.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem 2>/dev/null
openssl pkey -in key.pem -pubout -out key.pub
write_statement '"status":"not_affected","justification":"vulnerable_code_not_in_execute_path"'
# documents TYPE: the documents of a type that are attached to the image.
documents() {
  "$strata" manifest "$registry/app:1" --referrers | jq -r --arg type "$1" '.manifests[] | select(.artifactType == $type) | .digest' | while read -r manifest; do
    blob=$("$strata" manifest "$registry/app@$manifest" | jq -r '.layers[0].digest')
    curl -sSf "http://$registry/v2/app/blobs/$blob"
    echo
  done
}
digest=$("$strata" copy "$image" "docker://$registry/app:1" --quiet --sbom cyclonedx --vex openvex --vex team.json --sign-key key.pem)
"$strata" manifest "$registry/app:1" --referrers >referrers.json
documents application/vnd.openvex+json >attached.json
same "$(jq -s length attached.json)" 1
same "$(jq -c '.statements | map([.vulnerability.name, .status])' attached.json)" \
  '[["CVE-2023-33333","fixed"],["CVE-2024-1111","fixed"],["CVE-2024-2222","fixed"],["CVE-2022-1","not_affected"]]'
same "$(jq -r '.statements[].products[0]["@id"]' attached.json | sort -u)" "pkg:oci/app@${digest/:/%3A}?repository_url=${registry/:/%3A}%2Fapp"
same "$(jq -r '.statements[0].products[1]["@id"]' attached.json)" "$(documents application/vnd.cyclonedx+json | jq -r '.components[] | select(.name == "tool") | .purl')"
# The attestation has the predicate type that cosign has for OpenVEX, and the same document.
jq -e '[.manifests[].annotations["dev.sigstore.bundle.predicateType"]] | index("https://openvex.dev/ns")' referrers.json >/dev/null || fail "no attestation"
# An image without statements has no document: OpenVEX has no empty ones.
"$strata" copy "$none" "docker://$registry/none:1" --vex openvex >out 2>log
grep -q 'no patch has a CVE number' log || { cat log; fail "copy --vex without statements"; }
lacks -q openvex <("$strata" manifest "$registry/none:1" --referrers)
# Files are read before anything is pushed.
write_statement '"status":"affected"'
for file in team.json missing.json; do
  status=0; "$strata" copy "$image" "docker://$registry/early:1" --quiet --vex "$file" >out 2>log || status=$?
  same "$status" 2
  grep -qF -- "--vex" log || { cat log; fail "$file"; }
done
"$strata" manifest "$registry/early:1" >/dev/null 2>&1 && fail "an image was pushed before its VEX document was read"

# The metadata of the expression: known vulnerabilities, CPEs and package URLs, which the SBOM has too.
expression='let
    patch = builtins.toFile "CVE-2024-2222.patch" "";
    script = name: attributes: pkgs.runCommand name attributes "mkdir $out; echo ${name} >$out/x";
    old = (script "old-1.2-unstable-2024-01-31" { patches = [ patch null ]; }) // { pname = "old"; version = "1.2-unstable-2024-01-31"; meta = {
      knownVulnerabilities = [ "CVE-2024-5555: overflow" "end of life" ];
      mainProgram = "old"; position = "${toString pkgs.path}/pkgs/old.nix:1";
      identifiers = { cpe = "cpe:2.3:a:x:old:1.2-unstable-2024-01-31:*:*:*:*:*:*:*"; purl = "pkg:github/x/old@1.2"; }; }; };
  in buildImage { name = "'"$registry"'/meta"; tag = "1"; attach = [ "cyclonedx" "openvex" ]; layers = [ (buildLayer { deps = [ old ]; }) ]; }'
vex=$(build "($expression).vex")
same "$(jq -r '.statements[] | "\(.vulnerability.name) \(.status) \(.action_statement // .status_notes)"' "$vex")" \
"CVE-2024-5555 affected replace it with a version that nixpkgs does not mark as insecure; meta.knownVulnerabilities: CVE-2024-5555: overflow
CVE-2024-2222 fixed patch CVE-2024-2222.patch"
cpe='cpe:2.3:a:x:old:1.2:*:*:*:*:*:*:*'
same "$(jq -c '.statements[0].products' "$vex")" '[{"@id":"pkg:github/x/old@1.2","identifiers":{"cpe23":"'"$cpe"'","purl":"pkg:github/x/old@1.2"}}]'
same "$(jq -c '.components[] | select(.name == "old") | [.type, .version, .cpe, .purl, .supplier.name, (.properties | map(select(.name | startswith("nix:known") or . == "nix:version").value))]' \
  "$(build "($expression).sbom.cyclonedx")")" \
  '["application","1.2","'"$cpe"'","pkg:github/x/old@1.2","Nixpkgs",["1.2-unstable-2024-01-31","CVE-2024-5555: overflow","end of life"]]'
same "$(jq -c '.packages[] | select(.name == "old") | [.versionInfo, .supplier, .primaryPackagePurpose]' "$(build "($expression).sbom.spdx")")" \
  '["1.2","Organization: Nixpkgs","APPLICATION"]'
"$(build "($expression).copyToRegistry")/bin/copy-to-registry" --quiet >digest
"$strata" manifest "$registry/meta:1" --referrers | jq -e '[.manifests[].artifactType] | index("application/vnd.openvex+json")' >/dev/null || fail "attach"
