# SBOMs are complete and reproducible, and the validators and readers of the formats accept them.
. "$root/tests/lib.sh"
python=$(sbom_python) || skip "the validators cannot be had: $(tail -n 1 "$work/log")"
venv=${python%/bin/python}
valid() { "$python" "$root/tests/peers/sbom.py" "$@" >"$work/summary" || fail "$*: $(<"$work/summary")"; }

# The metadata of nixpkgs' packages (pkgs/stdenv/generic/check-meta.nix: meta.identifiers).
openssl='pkgs.hello // { pname = "hello"; version = "2.10"; meta = { description = "says \"hello\" & <more>"; homepage = [ "https://example.org/" ];
  license = [ { spdxId = "GPL-3.0-or-later"; fullName = "GNU GPL"; } { fullName = "Own Terms"; } ]; maintainers = [ { name = "A. Person"; email = "a@example.org"; } ];
  identifiers.cpe = "cpe:2.3:a:gnu:hello:2.10:*:*:*:*:*:*:*"; }; }'
image="buildImage { name = \"app\"; tag = \"1\"; config.Cmd = [ \"\${pkgs.jq}/bin/jq\" ]; copyToRoot = [ pkgs.coreutils ];
  layers = [ (buildLayer { deps = [ ($openssl) ]; }) ]; }"
path=$(build "$image")
for format in cyclonedx spdx; do
  bill=$(build "($image).sbom.$format")
  valid "$format" "$bill"
  build "($image).sbom.$format" --check >/dev/null
  cp "$bill" "$work/$format.json"
done

# Every store path of the closure, and its references, are in both formats, and nothing else.
expected=$(nix-store -qR "$path" | grep -vxF "$path" | grep -v -- '-config-app.json$' | sort)
same "$(jq -r '.components[].properties[] | select(.name == "nix:store_path").value' "$work/cyclonedx.json" | sort)" "$expected"
same "$(jq -r '.packages[].packageFileName // empty' "$work/spdx.json" | sort)" "$expected"
references() { while read -r from; do nix-store -q --references "$from" | grep -vxF "$from" | sed "s|^|$from |"; done <<<"$expected" | sed 's|/nix/store/||g' | sort; }
same "$(jq -r '.dependencies[] | select(.ref != "image") | .ref as $from | .dependsOn[] | "\($from) \(.)"' "$work/cyclonedx.json" | sort)" "$(references)"
same "$(jq -r '.relationships[] | select(.relationshipType == "DEPENDS_ON" and .spdxElementId != "SPDXRef-image" and (.relatedSpdxElement | startswith("SPDXRef"))) |
  "\(.spdxElementId) \(.relatedSpdxElement)"' "$work/spdx.json" | sed 's/SPDXRef-//g' | sort)" "$(references)"
# NAR hashes are Nix's.
hello=$(grep -- '-hello-' <<<"$expected")
same "$(jq -r '.components[] | select(.name == "hello").hashes[0].content' "$work/cyclonedx.json")" "$(nix-hash --to-base16 --type sha256 "$(nix-store -q --hash "$hello" | cut -d : -f 2)")"
# The metadata of the expression.
same "$(jq -c '.components[] | select(.name == "hello") | [.version, .cpe, .licenses, .externalReferences[0].url, .authors[0].name]' "$work/cyclonedx.json")" \
  '["2.10","cpe:2.3:a:gnu:hello:2.10:*:*:*:*:*:*:*",[{"license":{"id":"GPL-3.0-or-later"}},{"license":{"name":"Own Terms"}}],"https://example.org/","A. Person"]'
same "$(jq -r '.packages[] | select(.name == "hello").licenseDeclared' "$work/spdx.json")" "GPL-3.0-or-later AND LicenseRef-Own-20-Terms"
# syft reads both formats: the same components, versions, CPEs, purls and dependencies.
read_by_syft() { SYFT_CHECK_FOR_APP_UPDATE=false "$venv/bin/syft" convert "$1" -o syft-json 2>"$work/log" || fail "syft convert $1: $(<"$work/log")"; }
for format in cyclonedx spdx; do
  read_by_syft "$work/$format.json" >"$work/syft.json"
  same "$(jq -c '[.artifacts[] | [.name, .version, ([.cpes[]?.cpe] | first), .purl]] | sort[]' "$work/syft.json")" \
    "$(jq -c '[.components[] | [.name, .version, .cpe, .purl]] | sort[]' "$work/cyclonedx.json")"
  same "$(jq -r '(.artifacts | map({ key: .id, value: .purl }) | from_entries) as $purl | .artifactRelationships[] |
    select(.type == "dependency-of") | "\($purl[.child]) \($purl[.parent])"' "$work/syft.json" | sort)" \
    "$(jq -r '(.components | map({ key: .["bom-ref"], value: .purl }) | from_entries) as $purl | .dependencies[] | select(.ref != "image") |
    .ref as $from | .dependsOn[] | "\($purl[$from]) \($purl[.])"' "$work/cyclonedx.json" | sort)"
done

# So does grype: without its vulnerability database it prints what it read, and ends.
read_by_grype() {
  if XDG_CACHE_HOME=$work/grype GRYPE_DB_AUTO_UPDATE=false GRYPE_CHECK_FOR_APP_UPDATE=false grype "sbom:$1" -vv >"$work/out" 2>"$work/log"; then
    fail "grype has a database"
  fi
  grep -qF 'database does not exist' "$work/log" || { tail "$work/log"; fail "grype $1"; }
  sed -n 's/.*gathered packages packages=\([0-9]*\) .*/\1/p' "$work/log"
  # All components that it identifies by name.
  sed -n 's/.*no CPEs for package: Pkg(name="\(.*\)" version="\(.*\)" type="nix".*/\1 \2/p' "$work/log" | sort
}
if from_go github.com/anchore/grype/cmd/grype@v0.121.3 grype; then
  jq -r '[.components[] | select(.type == "library" or .type == "application")] | length, (map(select(.cpe | not) | "\(.name) \(.version)") | .[])' "$work/cyclonedx.json" >"$work/expected"
  same "$(read_by_grype "$work/cyclonedx.json")" "$(sed -n 1p "$work/expected"; sed 1d "$work/expected" | sort)"
  # SPDX contains components without a version, too, and marks them.
  jq -r '[.packages[] | select(.SPDXID != "SPDXRef-image")] | length, (map(select([.externalRefs[]?.referenceType] | index("cpe23Type") | not) | "\(.name) \(.versionInfo)") | .[])' "$work/spdx.json" >"$work/expected"
  same "$(read_by_grype "$work/spdx.json")" "$(sed -n 1p "$work/expected"; sed 1d "$work/expected" | sort)"
fi

# Packages outside of nixpkgs may have invalid metadata.
odd='pkgs.hello // { pname = "hello"; version = "2.10"; meta = { license = [ "MIT" null { } { shortName = "own"; } ]; maintainers = [ "A. Person" { email = null; } ];
  homepage = [ ]; description = null; identifiers = { }; }; }'
bill=$(build "(buildImage { name = \"odd\"; tag = \"1\"; layers = [ (buildLayer { deps = [ ($odd) ]; }) ]; }).sbom.cyclonedx")
valid cyclonedx "$bill"
same "$(jq -c '.components[] | select(.name == "hello") | [.licenses, .authors]' "$bill")" \
  '[[{"license":{"name":"MIT"}},{"license":{"name":"own"}}],[{"name":"A. Person"},{"name":"unknown"}]]'

# Identifiers that SPDX's list lacks, and identifiers of exceptions, are not valid.
unlisted='pkgs.hello // { meta.license = [ { spdxId = "NotInList"; fullName = "Own Terms 2"; } { spdxId = "Classpath-exception-2.0"; fullName = "with an exception"; }
  { spdxId = "LicenseRef-own_terms"; fullName = "Own Terms 3"; } { spdxId = "MIT+"; fullName = "MIT or later"; } { spdxId = "mit"; fullName = "MIT"; }
  { spdxId = "GPL-2.0+"; fullName = "GPL"; } { spdxId = "MIT"; fullName = "MIT License"; } { spdxId = ""; fullName = "Nothing"; } ]; }'
for format in cyclonedx spdx; do
  bill=$(build "(buildImage { name = \"unlisted\"; tag = \"1\"; layers = [ (buildLayer { deps = [ ($unlisted) ]; }) ]; }).sbom.$format")
  valid "$format" "$bill"
  cp "$bill" "$work/unlisted.$format"
done
same "$(jq -c '.components[] | select(.name == "hello").licenses | map(.license.id // .license.name)' "$work/unlisted.cyclonedx")" \
  '["Own Terms 2","with an exception","Own Terms 3","MIT or later","MIT","GPL-2.0+","MIT","Nothing"]'
same "$(jq -r '.packages[] | select(.name == "hello").licenseDeclared' "$work/unlisted.spdx")" \
  'LicenseRef-NotInList AND LicenseRef-Classpath-exception-2.0 AND LicenseRef-own-5f-terms AND LicenseRef-MIT-2b- AND LicenseRef-mit AND GPL-2.0+ AND MIT AND LicenseRef-Nothing'

# Files at the root, and their locations.
same "$(jq -r '.components[] | select(.properties[].name == "strata:copied_to").name' "$work/cyclonedx.json")" coreutils
same "$(jq -r '.components[] | select(.name == "hello").properties[] | select(.name == "strata:layer:diff_id").value' "$work/cyclonedx.json")" \
  "$("$strata" inspect --json "$path" | jq -r '.[0].layers[] | select(.paths[]? | contains("-hello-")).diff_id')"

# All kinds of images. Compression does not change the SBOM.
archive=$(build 'makeContainerImage { name = "app"; layers = [ pkgs.hello ]; }')
bill=$(build '(makeContainerImage { name = "app"; layers = [ pkgs.hello ]; }).sbom.cyclonedx')
valid cyclonedx "$bill"
"$strata" sbom "$archive" >"$work/archive.json"
valid cyclonedx "$work/archive.json"
names() { jq -r '[.components[] | select(.purl) | .purl] | sort[]' "$1"; }
same "$(names "$work/archive.json")" "$(names "$bill")"

# A Debian base image, an Alpine one, and one without a package database.
python3 - "$work" <<'PYTHON'
import io, json, hashlib, sys, tarfile
def image(name, *layers):
    blobs = []
    for files in layers:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for path, text in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
        blobs.append(out.getvalue())
    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(blob).hexdigest() for blob in blobs]}}
    with tarfile.open(f"{sys.argv[1]}/{name}.tar", "w") as tar:
        def add(path, blob):
            info = tarfile.TarInfo(path)
            info.size = len(blob)
            tar.addfile(info, io.BytesIO(blob))
        add("config.json", json.dumps(config).encode())
        for at, blob in enumerate(blobs):
            add(f"{at}/layer.tar", blob)
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [f"{name}:1"],
                                          "Layers": [f"{at}/layer.tar" for at in range(len(blobs))]}]).encode())
status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u4\n\n"
image("debian", {"etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "var/lib/dpkg/status": status},
      {"var/lib/dpkg/status": status + "Package: curl\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7.88\n\n"})
image("alpine", {"etc/os-release": "ID=alpine\nVERSION_ID=3.20.1\n", "lib/apk/db/installed": "P:musl\nV:1.2.5-r0\nA:x86_64\n\n"})
image("scratch", {"bin/program": "anything"})
PYTHON
purls() { jq -r '.components[] | select(.purl // "" | startswith("pkg:nix") | not) | .purl // .name' "$1"; }
on() { build "(buildImage { name = \"app\"; tag = \"1\"; fromImage = $work/$1.tar; layers = [ (buildLayer { deps = [ pkgs.hello ]; }) ]; }).sbom.cyclonedx"; }
bill=$(on debian)
valid cyclonedx "$bill"
same "$(purls "$bill")" 'pkg:deb/debian/curl@7.88?arch=amd64&distro=debian-12
pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12'
same "$(jq -r '.components[] | select(.name == "curl" or .name == "libc6") | "\(.name) \(.properties[] | select(.name == "strata:layer:number").value)"' "$bill")" $'curl 2\nlibc6 1'
same "$(purls "$(on alpine)")" 'pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1'
bill=$(on scratch)
same "$(purls "$bill")" 'layer 1'
same "$(jq -r '.compositions[0].aggregate' "$bill")" incomplete
"$strata" sbom "$work/debian.tar" --format spdx >"$work/debian.json"
valid spdx "$work/debian.json"

# Changes between two images.
new=$(build 'buildImage { name = "app"; tag = "2"; config.Cmd = [ "${pkgs.bash}/bin/bash" ]; copyToRoot = [ pkgs.coreutils ]; }')
status=0
"$strata" sbom diff "$path" "$new" >"$work/difference" || status=$?
same $status 1
grep -qx -- '- hello 2.10' "$work/difference" && grep -q -- '^+ bash ' "$work/difference" && ! grep -q coreutils "$work/difference" ||
  fail "sbom diff: $(<"$work/difference")"
silent "$strata" sbom diff "$path" "$path"
