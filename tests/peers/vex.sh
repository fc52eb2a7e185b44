# VEX documents are valid for the schemas, validators and libraries of their formats.
. "$root/tests/lib.sh"
need_command go
need_command jq
cd "$work"

image=$(build 'let
    patch = name: builtins.toFile name "";
    tool = pkgs.runCommand "tool-1.2" { patches = [ (patch "CVE-2024-2222.patch") (patch "CVE-2024-3333.patch") ]; } "mkdir $out; echo tool >$out/x";
  in buildImage { name = "app"; tag = "1"; config.Env = [ "TOOL=${tool}" ]; }')
old='let
    old = (pkgs.runCommand "old-1.0" { patches = [ (builtins.toFile "CVE-2024-2222.patch" "") ]; } "mkdir $out; echo old >$out/x") // {
      meta = { knownVulnerabilities = [ "CVE-2024-5555" ]; identifiers = { cpe = "cpe:2.3:a:x:old:1.0:*:*:*:*:*:*:*"; purl = "pkg:github/x/old@1.0"; }; }; };
  in buildImage { name = "old"; tag = "1"; layers = [ (buildLayer { deps = [ old ]; }) ]; }'
cat >team.json <<'JSON'
{ "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/1", "author": "x", "timestamp": "2026-02-01T00:00:00Z", "version": 1,
  "statements": [
    { "vulnerability": { "name": "CVE-2022-1" }, "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path" },
    { "vulnerability": { "name": "CVE-2022-2", "aliases": ["GHSA-1"] }, "status": "not_affected", "impact_statement": "it is not used" },
    { "vulnerability": { "name": "CVE-2022-3" }, "status": "affected", "action_statement": "update" },
    { "vulnerability": { "name": "CVE-2022-4" }, "status": "under_investigation", "products": [ { "@id": "pkg:nix/x@1" } ] } ] }
JSON
"$strata" vex "$image" >patches.json
"$strata" vex "$image" --vex team.json >merged.json
cp "$(build "($old).vex")" expression.json
"$strata" vex "$(build "$old")" --vex expression.json >both.json
documents=(patches.json merged.json expression.json both.json)

# OpenVEX's library.
if online go mod download github.com/openvex/go-vex@v0.2.9 2>log; then
  mkdir peer
  cp "$root/tests/peers/vex.go" peer/main.go
  (cd peer && go mod init peer && go get github.com/openvex/go-vex@v0.2.9 && go build -o ../peer/vex .) >log 2>&1 ||
    (cd peer && online go mod tidy && go build -o ../peer/vex .) >log 2>&1 || { cat log; fail "building the program that uses go-vex"; }
  same "$(./peer/vex "${documents[@]}")" $'2 statements\n6 statements\n2 statements\n3 statements'
  jq '.statements[0].status = "harmless"' patches.json >wrong.json
  if ./peer/vex wrong.json >out 2>&1; then fail "go-vex accepts an unknown status"; fi
else
  skip_part "go-vex cannot be downloaded: $(tail -n 1 log)"
fi

# OpenVEX's schema, which no registry has.
schema=${STRATA_OPENVEX_SPEC-}/openvex_json_schema.json
if [[ -e $schema ]]; then
  for document in "${documents[@]}"; do
    /usr/bin/python3 -m jsonschema --instance "$document" "$schema" >log 2>&1 || { cat log; fail "$document does not match the schema of OpenVEX"; }
  done
  jq '.unknown = 1' patches.json >wrong.json
  if /usr/bin/python3 -m jsonschema --instance wrong.json "$schema" >log 2>&1; then fail "the schema accepts an unknown field"; fi
else
  skip_part "STRATA_OPENVEX_SPEC names no checkout of openvex/spec"
fi

# CycloneDX's schema.
if python=$(sbom_python); then
  valid() { "$python" -c 'import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(str(error) if error else 0)'; }
  for arguments in "$image" "$image --vex team.json" "$(build "$old") --vex expression.json"; do
    # shellcheck disable=SC2086
    "$strata" vex $arguments --format cyclonedx >cyclonedx.json 2>log
    valid <cyclonedx.json >log 2>&1 || { cat log; fail "the CycloneDX document of $arguments is invalid"; }
  done
  same "$(jq -c '[.vulnerabilities | map([.id, .analysis.state])[]]' cyclonedx.json)" '[["CVE-2024-2222","resolved"],["CVE-2024-5555","exploitable"],["CVE-2024-2222","resolved"]]'
  if jq '.vulnerabilities[0].analysis.state = "fixed"' cyclonedx.json | valid >log 2>&1; then fail "the schema accepts an unknown state"; fi
else
  skip_part "the validator of CycloneDX cannot be installed"
fi

# grype: vulnerabilities that nixpkgs patches are reported without the VEX document, and suppressed with it. Others stay.
if from_go github.com/anchore/grype/cmd/grype@v0.121.3 grype; then
  export XDG_CACHE_HOME=$work/cache GRYPE_DB_CACHE_DIR=$work/grype GRYPE_DB_AUTO_UPDATE=false GRYPE_DB_VALIDATE_AGE=false \
    GRYPE_DB_VALIDATE_BY_HASH_ON_START=false GRYPE_CHECK_FOR_APP_UPDATE=false
  python3 "$root/tests/peers/grype_database.py" "$work/grype/6" 'CVE-2024-2222 tool tool <= 1.2' 'CVE-2024-7777 tool tool <= 1.2' \
    'CVE-2024-8888 tool tool < 1.2' 'CVE-2024-2222 x old = 1.0' 'CVE-2024-5555 x old = 1.0' 'CVE-2024-6666 x old = 1.0'
  found() { grype "$@" --output json 2>log | jq -r '[.matches[].vulnerability.id] | sort | join(" ")' || { cat log; fail "grype $*"; }; }
  "$strata" sbom "$image" >sbom.json
  same "$(found sbom:sbom.json --add-cpes-if-none)" 'CVE-2024-2222 CVE-2024-7777'
  same "$(found sbom:sbom.json --add-cpes-if-none --vex patches.json)" CVE-2024-7777
  # The CPE and the package URL of the expression, in both documents.
  cp "$(build "($old).sbom.cyclonedx")" sbom.json
  same "$(found sbom:sbom.json)" 'CVE-2024-2222 CVE-2024-5555 CVE-2024-6666'
  same "$(found sbom:sbom.json --vex expression.json)" 'CVE-2024-5555 CVE-2024-6666'
  # A version with a suffix of nixpkgs is the last release for scanners.
  snapshot='let tool = pkgs.runCommand "tool-1.2-unstable-2024-01-31" { } "mkdir $out; echo tool >$out/x"; in
    buildImage { name = "app"; tag = "2"; config.Env = [ "TOOL=${tool}" ]; }'
  "$strata" sbom "$(build "$snapshot")" >sbom.json
  same "$(found sbom:sbom.json --add-cpes-if-none)" 'CVE-2024-2222 CVE-2024-7777'
fi
