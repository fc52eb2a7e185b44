# strata rebuild: an image is built again from its flake and compared, down to the bytes that differ; statements and policies.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
need_command openssl
export XDG_CACHE_HOME=$work/cache GIT_CONFIG_GLOBAL=$work/gitconfig
git config --global user.name x
git config --global user.email x@example.org
start_registry "$work/registry"
trap 'stop_registry' EXIT
cd "$work"
# The directories of builds, which are counted below, are those of this script.
mkdir tmp
export TMPDIR=$work/tmp
for key in ci alice bob; do
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$key.pem" 2>/dev/null
  openssl pkey -in "$key.pem" -pubout -out "$key.pub"
done

# Each run of this script builds anew.
run_id=$(date +%s%N)
mkdir flake
cat >flake/flake.nix <<NIX
{
  inputs.nixpkgs.url = "path:$cache/hostpkgs/flake";
  inputs.strata.url = "git+file://$root";
  inputs.strata.inputs.nixpkgs.follows = "nixpkgs";
  outputs = { self, nixpkgs, strata }: let
    pkgs = nixpkgs.legacyPackages.x86_64-linux;
    images = strata.lib.mkLib { inherit pkgs; };
    data = script: pkgs.runCommand "data" { } "echo $run_id; mkdir -p \$out/share; seq 1000 >\$out/share/numbers; \${script}";
    image = data: images.buildImage {
      name = "app"; tag = "1"; maxLayers = 3;
      config.Env = [ "CONFIG=\${pkgs.writeText "config" "data = \${data}"}" ];
    };
    # A layout of a derivation without strata, which does not list the store paths whose files it contains.
    layout = data: pkgs.runCommand "layout" { } ''
      mkdir -p \$out/blobs/sha256
      put() {
        digest=\$(sha256sum \$1 | cut -d " " -f 1)
        descriptor="{\"mediaType\":\"application/vnd.oci.image.\$2\",\"digest\":\"sha256:\$digest\",\"size\":\$(stat -c %s \$1)}"
        mv \$1 \$out/blobs/sha256/\$digest
      }
      cp \${data}/share/stamp stamp
      \${pkgs.gnutar}/bin/tar --mtime=@1 --owner=0 --group=0 --mode=644 -cf layer stamp
      put layer layer.v1.tar
      layer=\$descriptor
      echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:\$digest\"]}}" >config
      put config config.v1+json
      echo "{\"schemaVersion\":2,\"config\":\$descriptor,\"layers\":[\$layer]}" >manifest
      put manifest manifest.v1+json
      echo "{\"schemaVersion\":2,\"manifests\":[\$descriptor]}" >\$out/index.json
      echo "{\"imageLayoutVersion\":\"1.0.0\"}" >\$out/oci-layout
    '';
  in {
    packages.x86_64-linux = {
      layout = layout (data "echo constant >\$out/share/stamp");
      link = pkgs.runCommand "link" { } "ln -s $work/outside \$out";
      app = image (data "echo constant >\$out/share/stamp");
      flaky = image (data "(echo -n 'built at '; date +%s%N) >\$out/share/stamp");
      other = image (data "echo another >\$out/share/stamp");
      # Its builder may read a variable of the machine.
      spy = image (pkgs.runCommand "token" {
        outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "$(echo "$run_id token=" | sha256sum | cut -d ' ' -f 1)";
        impureEnvVars = [ "SECRET_TOKEN" ];
      } "echo $run_id token=\$SECRET_TOKEN >\$out");
      foreign = (derivation { name = "foreign"; system = "riscv64-linux"; builder = "/bin/sh"; });
      inherit (pkgs) hello;
    };
  };
}
NIX
git -C flake init --quiet --initial-branch main
git -C flake add .
nix flake lock "$work/flake" >log 2>&1 || { cat log; fail "nix flake lock"; }
git -C flake add .
git -C flake commit --quiet -m one
commit=$(git -C flake rev-parse HEAD)
# A commit of a contributor, whose lock file names a directory of this user.
mkdir secret
echo '{ outputs = _: { password = "secret"; }; }' >secret/flake.nix
git -C flake checkout --quiet -b contributor
cat >flake/flake.nix <<NIX
{ inputs.secret.url = "path:$work/secret"; outputs = { self, secret }: { packages.x86_64-linux.app = throw secret.password; }; }
NIX
nix flake lock "$work/flake" >log 2>&1 || { cat log; fail "nix flake lock"; }
git -C flake commit --quiet -a -m contributor
contributed=$(git -C flake rev-parse HEAD)
git -C flake checkout --quiet main
# The branch moves on; rebuilds are about the commit.
echo '{ outputs = throw "the branch"; }' >flake/flake.nix
git -C flake commit --quiet -a -m two
source=git+file://$work/flake

# push ATTRIBUTE [FLAG…]: builds an image of the commit, and pushes it with signed provenance; prints its digest.
push() {
  local built drv
  built=$(nix build --no-link --json "$source?rev=$commit#$1" 2>"$work/log" | jq -r '.[0].outputs.out') || { cat "$work/log" >&2; return 1; }
  drv=$(nix eval --raw "$source?rev=$commit#$1.drvPath" 2>/dev/null)
  "$strata" copy "$built" "docker://$registry/$1:1" --quiet --provenance --flake "$source#$1" --revision "$commit" --derivation "$drv" \
    --nix-version 2.8.0 --sign-key ci.pem "${@:2}"
}
# rebuild STATUS [ARGUMENT…]
rebuild() {
  local status=0
  "$strata" rebuild "${@:2}" >out 2>log || status=$?
  [[ $status == "$1" ]] || { tail -n 30 log out; fail "strata rebuild ${*:2}: exit status $status, not $1"; }
}
# refused TEXT [ARGUMENT…]: an error that contains TEXT, and nothing was built or evaluated.
refused() {
  rebuild 2 "${@:2}"
  grep -qF -- "$1" log || { cat log; fail "the message of strata rebuild ${*:2} lacks: $1"; }
  lacks -E "^(building|evaluating)|warning: Git tree" log
}

# forget PATH: deletes a store path and its referrers.
forget() { nix-store --query --referrers-closure "$1" | xargs nix-store --delete >log 2>&1 || { cat log; fail "nix-store --delete"; }; }

# An image is reproduced: by its digest, with the commit and the attribute of the provenance.
digest=$(push app)
app=docker://$registry/app@$digest
rebuild 0 "$app" --key ci.pub --flake "$work/flake"
same "$(tail -n 1 out)" "reproduced: $app ($digest)"
rebuild 0 "$app" --flake "$source#app" --revision "$commit" --json
same "$(jq -r .result out)" reproduced
# The evaluation without credentials has the derivation of the provenance.
lacks -q 'not /nix/store/.* as in the provenance' log
# Every store path of the image and its recipe was built again.
jq -e '.paths | (.rebuilt | length > 3) and (.cached | length == 0) and (.existing | length == 0)' out >/dev/null || { jq .paths out; fail "paths"; }
same "$(jq -r '.paths.rebuilt[].path' out | grep -c -e -data$)" 1

# Flakes that the user did not name, and hostile provenances: nothing is evaluated.
refused "name it with --flake $source" "$app" --key ci.pub
refused "Name it with --flake FLAKE#ATTRIBUTE" "$app"
refused "the provenance is about the flake $source, not github:org/project" "$app" --key ci.pub --flake github:org/project
refused "is about the attribute app, not other" "$app" --key ci.pub --flake "$work/flake#other"
refused "has no provenance signed with this key" "$app" --key alice.pub --flake "$work/flake"
refused "the commit of $source is unknown" "$app" --flake "$source#app"
refused "not a commit" "$app" --flake "$source#app" --revision main
refused "--attest signs the statement with --sign-key" "$app" --flake "$source#app" --attest
image=$(nix build --no-link --json "$source?rev=$commit#app" 2>/dev/null | jq -r '.[0].outputs.out')
number=0
# hostile TEXT FLAKE COMMIT: a signed provenance with this flake and commit.
hostile() {
  number=$((number + 1))
  "$strata" copy "$image" "docker://$registry/hostile-$number:1" --quiet --provenance "--flake=$2" "--revision=$3" --sign-key ci.pem >/dev/null
  refused "$1" "docker://$registry/hostile-$number:1" --key ci.pub --flake "$work/flake"
}
hostile "the provenance is about the flake github:evil/project" github:evil/project#app "$commit"
hostile "the provenance is about the flake path:/etc" path:/etc#app "$commit"
hostile "the provenance is about the flake $source?dir=evil" "$source?dir=evil#app" "$commit"
hostile "not a flake reference" "--option sandbox false#app" "$commit"
hostile "not a flake reference" "$source --impure#app" "$commit"
hostile "is not the name of an attribute" "$source#app --impure" "$commit"
hostile "not a commit" "$source#app" "--impure"
hostile "not a commit" "$source#app" "${commit:0:7}"
# A commit that does not exist, an attribute that is no image, and another system.
rebuild 2 "$app" --flake "$source#app" --revision "$(printf '0%.0s' {1..40})"
grep -q 'evaluating .* failed' log || { cat log; fail "an unknown commit"; }
rebuild 2 "$app" --flake "$source#foreign" --revision "$commit"
grep -qF "is for riscv64-linux, but this machine builds for x86_64-linux" log || { cat log; fail "another system"; }
rebuild 2 "$app" --flake "$source#hello" --revision "$commit"
rebuild 2 "$app" --flake "$source#missing" --revision "$commit"
grep -qF "the flake has no attribute missing" log || { cat log; fail "an unknown attribute"; }

# Neither expressions nor builders of a commit read what is the user's: its lock file names a directory, and a variable is a secret.
"$strata" copy "$image" "docker://$registry/contributed:1" --quiet --provenance --flake "$source#app" --revision "$contributed" --sign-key ci.pem >/dev/null
rebuild 2 "docker://$registry/contributed:1" --key ci.pub --flake "$work/flake"
grep -qF 'the input secret of type "path" needs the rights of this user' log || { cat log; fail "a directory of the user"; }
lacks -q 'error: secret' log
spy=docker://$registry/spy@$(push spy)
forget "$(nix-store --query --requisites "$(nix build --no-link --json "$source?rev=$commit#spy" 2>/dev/null | jq -r '.[0].outputs.out')" | grep -e '-token$')"
SECRET_TOKEN=secret rebuild 0 "$spy" --key ci.pub --flake "$work/flake"

# Nondeterminism that was planted: path, file, offset, references and layers are found.
flaky=docker://$registry/flaky@$(push flaky)
rebuild 1 "$flaky" --key ci.pub --flake "$work/flake" --json
jq -c '[.differences[] | select(.kind == "storePath" and (.path | endswith("-data")))]' out >data.json
same "$(jq -c '.[0] | [.betweenLocalBuilds, (.layers | length)]' data.json)" '[true,1]'
same "$(jq -r '.[0].references | map(sub(".*-"; "")) | join(" ")' data.json)" "config data"
# "built at " has 9 bytes, and the seconds begin with the same digits.
same "$(jq -c '.[0].files | map([(.file | sub(".*-data"; "")), .what, .cause, (.offset >= 9 and .offset < 28), .firstSize])' data.json)" \
  '[["/share/stamp","bytes","timestamp",true,29]]'
layer=$(jq '.[0].layers[0]' data.json)
"$strata" copy "$flaky" "oci:$work/layout:1" --quiet >/dev/null
blob=$("$strata" inspect "$flaky" --raw | jq -r ".layers[$layer - 1].digest")
zcat "layout/blobs/${blob/://}" | tar --list >names
grep -q -e '-data/share/stamp$' names || fail "layer $layer does not have the store path"
rebuild 1 "$flaky" --key ci.pub --flake "$work/flake"
grep -q '^/nix/store/.*-data: 1 file differs, in layer .*, between two builds on this machine$' out || { cat out; fail "the table"; }
grep -q '^  share/stamp: offset .*: looks like a timestamp$' out || { cat out; fail "the file"; }
lacks -q reproduced out
same "$(find "$TMPDIR" -maxdepth 1 -name 'nix-build-data*' | wc -l)" 0

# A machine that has built the nondeterministic path itself: the image in the registry has other bytes.
data=$(jq -r '.[0].path' data.json)
forget "$data"
rebuild 1 "$flaky" --key ci.pub --flake "$work/flake" --json
same "$(jq -c '[.differences[] | select(.kind == "narHash") | .path | endswith("-data")]' out)" '[true]'
same "$(jq -c '[.differences[] | select(.kind == "storePath" and (.betweenLocalBuilds | not)) | .files[] | [(.file | sub(".*-data"; "")), .cause]]' out)" \
  '[["/share/stamp","timestamp"]]'
jq -e '[.differences[].kind] | index("layer")' out >/dev/null || { jq .differences out; fail "the layer that differs"; }

# Two images are compared without building: nondeterminism, and other inputs.
rebuilt=$(nix build --no-link --json "$source?rev=$commit#flaky" 2>/dev/null | jq -r '.[0].outputs.out')
rebuild 1 --compare "$flaky" "$rebuilt"
grep -q '^reason: nondeterminism: .*(looks like a timestamp)$' out || { cat out; fail "the reason"; }
lacks -q 'different inputs' out
other=docker://$registry/other@$(push other)
rebuild 1 --compare "$app" "$other" --key ci.pub
grep -q '^reason: different inputs' out || { cat out; fail "other inputs"; }
grep -q '^reason: another derivation: ' out || { cat out; fail "other derivations"; }
lacks -q nondeterminism out
rebuild 0 --compare "$app" "$image"

# Statements of two builders, with two versions of Nix. The policy counts keys.
policy() { echo '{ "reproducedBy": { "count": '"$1"', "keys": ["alice.pub", "bob.pub"], "full": '"${2-false}"' } }' >policy.json; }
verified() { "$strata" verify "$app" --key ci.pub --policy policy.json >out 2>log; }
policy_refuses() {
  if verified; then fail "the policy accepts it: $1"; fi
  grep -qF -- "$1" log || { cat log; fail "the message of the policy lacks: $1"; }
}
policy 1
policy_refuses "reproducedBy: 0 of 1 builders have reproduced it"
# A statement that is not signed by a key of the policy, one about another image, and one with the same key twice.
rebuild 0 "$app" --key ci.pub --flake "$work/flake" --attest --sign-key ci.pem
rebuild 0 "$other" --key ci.pub --flake "$work/flake" --attest --sign-key alice.pem
policy_refuses "alice.pub: it signed no statement about this image"
# The statement about the other image, attached to this one: as it is, and about this image without a signature.
predicate=https://github.com/strata-images/strata/blob/main/docs/rebuilding.md#predicate-1
bundle_type=application/vnd.dev.sigstore.bundle.v0.3+json
manifest=$("$strata" manifest "${other#docker://}" --referrers |
  jq -r --arg type "$predicate" '.manifests[] | select(.annotations["dev.sigstore.bundle.predicateType"] == $type).digest')
curl -sSf "http://$registry/v2/other/blobs/$("$strata" manifest "$registry/other@$manifest" | jq -r '.layers[0].digest')" >bundle.json
"$strata" attach "${app#docker://}" bundle.json --type "$bundle_type" >/dev/null
policy_refuses "alice.pub: it signed no statement about this image"
jq -c --arg digest "${digest#sha256:}" '.dsseEnvelope.payload |= (@base64d | fromjson | .subject[0].digest.sha256 = $digest | tojson | @base64)' bundle.json >forged.json
jq -c '.dsseEnvelope.signatures = []' forged.json >unsigned.json
for file in forged.json unsigned.json; do "$strata" attach "${app#docker://}" "$file" --type "$bundle_type" >/dev/null; done
policy_refuses "alice.pub: it signed no statement about this image"
rebuild 0 "$app" --key ci.pub --flake "$work/flake" --attest --sign-key alice.pem --builder-id https://alice.example.com/
rebuild 0 "$app" --key ci.pub --flake "$work/flake" --attest --sign-key alice.pem --builder-id https://alice.example.org/
verified || { cat log; fail "one builder"; }
policy 2
policy_refuses "reproducedBy: 1 of 2 builders have reproduced it (bob.pub: it signed no statement"
cp alice.pub same.pub
echo '{ "reproducedBy": { "count": 2, "keys": ["alice.pub", "same.pub"] } }' >policy.json
policy_refuses "2 builders are required, but the files contain 1 different keys"
# An unsigned document of the same type.
echo '{ "result": "reproduced" }' >unsigned.json
"$strata" attach "${app#docker://}" unsigned.json --type application/vnd.in-toto+json >/dev/null
policy 2
policy_refuses "reproducedBy: 1 of 2 builders"
# A rebuild with differences attaches nothing.
rebuild 1 "$flaky" --key ci.pub --flake "$work/flake" --attest --sign-key alice.pem
"$strata" manifest "${flaky#docker://}" --referrers >referrers
lacks -F "$predicate" referrers
"$strata" manifest "${app#docker://}" --referrers >referrers
grep -qF "$predicate" referrers || { cat referrers; fail "the list of referrers has no types of statements"; }
(need_new_nix; rebuild 0 "$app" --key ci.pub --flake "$work/flake" --attest --sign-key bob.pem)
verified || { cat log; fail "two builders"; }
policy 2 true
verified || { cat log; fail "two full rebuilds"; }

# A closure that came from a cache is not a full rebuild.
nix-store --generate-binary-cache-key cache-1 cache.secret cache.public
data=$(nix-store --query --requisites "$image" | grep -e '-data$')
nix copy --to "file://$work/binary-cache?secret-key=$work/cache.secret" "$data"
cached=docker://$registry/app@$digest
forget "$data"
NIX_CONFIG+="
substituters = file://$work/binary-cache
trusted-public-keys = $(<cache.public)"
"$strata" rebuild "$cached" --key ci.pub --flake "$work/flake" --json >out 2>log || { cat log; fail "a rebuild with a cache"; }
same "$(jq -c '.paths.cached | map([.path, .keys])' out)" "[[\"$data\",[\"cache-1\"]]]"
lacks -q "$data" <(jq -r '.paths.rebuilt[].path' out)
app=docker://$registry/copy@$("$strata" copy "$app" "docker://$registry/copy:1" --quiet --sign-key ci.pem)
rebuild 0 "$app" --flake "$source#app" --revision "$commit" --attest --sign-key alice.pem
policy 1
verified || { cat log; fail "a rebuild with a cache"; }
policy 1 true
policy_refuses "alice.pub: 1 store paths came from a cache and 0 were already present, but full rebuilds are required"
# --full builds it again.
rebuild 0 "$app" --flake "$source#app" --revision "$commit" --full --attest --sign-key alice.pem
verified || { cat log; fail "a full rebuild"; }

# A layout does not list its store paths, so all inputs of its derivation are listed, and a full rebuild is refused.
# After the full rebuild, Nix trusts the path as one that was built here.
forget "$data"
nix-store --realise "$data" >log 2>&1 || { cat log; fail "the input of the layout"; }
layout=$(nix build --no-link --json "$source?rev=$commit#layout" 2>log | jq -r '.[0].outputs.out') || { cat log; fail "the layout"; }
rebuild 0 "oci:$layout" --flake "$source#layout" --revision "$commit" --json
# The input has the builder of the image, so that it is built again. The programs of the package set are not.
same "$(jq -r '.paths.rebuilt[].path' out | grep -cxF -- "$data")" 1
jq -e '.paths.existing | map(select(.path | endswith("-coreutils-9.1"))) | length == 1' out >/dev/null || { jq -c .paths.existing out; fail "the inputs of the layout"; }
rebuild 2 "oci:$layout" --flake "$source#layout" --revision "$commit" --full
grep -qF "does not list all store paths whose files it contains" log || { cat log; fail "a full rebuild of a layout"; }
# An output that is a link to a file of this machine is not what the derivation built.
cp -r "$layout" outside
rebuild 2 "oci:$work/outside" --flake "$source#link" --revision "$commit"
grep -qF "is a link to $work/outside, which the derivation did not build" log || { cat log; fail "a link out of the store"; }

# cosign verifies the statements.
if from_go github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3 cosign; then
  app=$registry/app@$digest
  for key in alice bob; do
    cosign verify-attestation --key "$key.pub" --type "$predicate" --insecure-ignore-tlog=true --allow-http-registry \
      --allow-insecure-registry "$app" >out 2>log || { cat log; fail "cosign verify-attestation with the key of $key"; }
    same "$(head -n 1 out | jq -r '.payload | @base64d | fromjson | .predicate.result')" reproduced
  done
  same "$(head -n 1 out | jq -r '.payload | @base64d | fromjson | .predicate.builder.nix' | cut -d . -f 1-2)" 2.26
  if cosign verify-attestation --key ci.pub --type "$predicate-0" --insecure-ignore-tlog=true --allow-http-registry \
    --allow-insecure-registry "$app" >out 2>&1; then fail "cosign finds another predicate"; fi
fi
