# buildIndex, and files with digests, which are those of a push to an empty registry.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
export XDG_CACHE_HOME=$work/cache
start_registry "$work/registry"
trap 'stop_registry' EXIT

# image.digest and image.reference, for each compression and kind of image.
image='(buildImage { name = "'"$registry"'/Digest"; tag = "v1"; maxLayers = 3; annotations.a = "b"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; })'
recorded='(buildImage { name = "'"$registry"'/digest"; tag = "v2"; compressed = "zstd:chunked"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; })'
archive='(makeContainerImage { name = "'"$registry"'/archive"; layers = [ pkgs.hello ]; })'
for expression in "$image" "$recorded" "$archive"; do
  for compression in gzip zstd zstd:chunked none; do
    digest=$(<"$(build "$expression.digest.override { compression = \"$compression\"; }")")
    same "$(<"$(build "$expression.reference.override { compression = \"$compression\"; }")")" \
      "$(nix-instantiate --eval --expr "$(expression "with $expression; \"\${imageName}:\${imageTag}\"")" | tr -d '"')@$digest"
    program=$(build "$expression.copyToRegistry")
    flags=(--compression "$compression")
    [[ $compression != none ]] || flags=(--preserve-digests)
    same "$(XDG_CACHE_HOME=$work/empty-$compression "$program/bin/copy-to-registry" --quiet "${flags[@]}")" "$digest"
  done
done
same "$(build "$image.digest")" "$(build "$image.digest.override { compression = \"gzip\"; }")"
build_fails "$image.digest.override { compression = \"gz\"; }" "argument compression of digest.override has gz; it has gzip, none, zstd, zstd:chunked"
# A tool that deploys by reference.
same "$("$strata" manifest "$(<"$(build "$image.reference")")" | sha256sum | cut -d ' ' -f 1)" "$(cut -d : -f 2 "$(build "$image.digest")")"

# Annotations of a layer, also if another layer removes some of its store paths, and with each compression.
annotated='(buildImage { name = "'"$registry"'/annotated"; tag = "v1"; compressed = "zstd";
  layers = [ (buildLayer { deps = [ pkgs.bash ]; maxLayers = 1; }) (buildLayer { deps = [ pkgs.hello ]; maxLayers = 1; annotations."org.example.layer" = "two"; }) ]; })'
path=$(build "$annotated")
for compression in gzip zstd zstd:chunked; do
  digest=$("$strata" copy "$path" "docker://$registry/annotated:v1" --compression "$compression" --quiet)
  same "$("$strata" manifest "$registry/annotated:v1" | jq -c '[.layers[].annotations."org.example.layer"]')" '[null,"two"]'
  same "$(<"$(build "$annotated.digest.override { compression = \"$compression\"; }")")" "$digest"
done
build_fails 'buildLayer { annotations."io.github.containers.zstd-chunked.manifest-position" = "1:2:3:1"; }' "strata writes; remove it"
build_fails 'buildLayer { annotations.a = 1; }' "argument annotations: a of buildLayer"

# One index of images by system.
machines='arm = pkgs // { stdenv.hostPlatform = { system = "aarch64-linux"; go.GOARCH = "arm64"; }; };
  of = pkgs: word: (import '"$root"'/nix { inherit pkgs; hostPkgs = pkgs.buildPackages; }).buildImage { name = "'"$registry"'/Multi"; tag = "v1"; annotations = { "org.example.all" = "x"; "org.example.one" = word; "org.example.path" = "${pkgs.hello}"; }; config.Cmd = [ "${pkgs.hello}/bin/hello" word ]; };'
index="(let $machines in buildIndex { images = { x86_64-linux = of pkgs \"--greeting=amd64\"; aarch64-linux.image = of arm \"--greeting=arm64\"; }; annotations.\"org.example.a\" = \"b\"; })"
path=$(build "$index")
program=$(build "$index.copyToRegistry")
same "$("$program/bin/copy-to-registry" --quiet)" "$(<"$(build "$index.digest")")"
same "$("$strata" manifest --index "$registry/multi:v1" | jq -c '[.annotations, [.manifests[].platform.architecture]]')" '[{"org.example.a":"b","org.example.all":"x"},["arm64","amd64"]]'
same "$(<"$(build "$index.reference")")" "$registry/multi:v1@$(<"$(build "$index.digest")")"
for architecture in amd64 arm64; do
  same "$(skopeo inspect --config --tls-verify=false --override-arch "$architecture" "docker://$registry/multi:v1" | jq -r '.config.Cmd[1]')" "--greeting=$architecture"
done
# Every command that reads images accepts it, and an engine gets the image of its platform.
"$strata" verify "$path" | grep -q ' 0 problems$' || fail "verify finds problems"
"$strata" inspect "$path" --json >/dev/null
"$(build "$index.copyToDockerDaemon")/bin/copy-to-docker-daemon" --quiet >/dev/null
same "$(run "$registry/multi:v1")" amd64
docker rmi "$registry/multi:v1" >/dev/null
same "$("$strata" copy "$path" "docker://$registry/one:v1" --platform linux/arm64 --quiet)" \
  "$("$strata" copy "$(build "$index.images.aarch64-linux.image or $index.images.aarch64-linux")" "docker://$registry/other:v1" --quiet)"
if "$strata" copy "$path" "docker://$registry/one:v1" --platform linux/s390x 2>"$work/log"; then fail "a platform that it lacks"; fi
grep -q 'no image matches linux/s390x; found linux/arm64, linux/amd64' "$work/log" || { cat "$work/log"; fail "no reason"; }
build "buildImage { name = \"on-top\"; fromImage = $index; }" >/dev/null
# Detached: it has no closure.
detached=$(build "$index.detached")
same "$(nix-store -qR "$detached" | sed 's/^[^-]*-//' | sort | tr '\n' ' ')" "image-Multi-detached.json image-Multi-detached.json index-multi-detached.json "
same "$("$(build "$index.detached.copyToRegistry")/bin/copy-to-registry" --quiet)" "$(<"$(build "$index.digest")")"
# dockerTools' images too, and images without a common name.
same "$("$strata" copy "$(build "buildIndex { images.x86_64-linux = $archive; }")" "docker://$registry/three" --all --quiet | wc -l)" 1
build_fails "let $machines in buildIndex { images = { x86_64-linux = of arm \"x\"; }; }" "argument images: the image of x86_64-linux is for linux/arm64; build it with the packages of x86_64-linux"
build_fails "let $machines in buildIndex { images = { x86_64-linux = of pkgs \"x\"; somewhere-else = of pkgs \"y\"; }; }" "are both for linux/amd64; keep one of them"
build_fails 'buildIndex { images.x86_64-linux = pkgs.hello; }' "argument images of buildIndex has no image for x86_64-linux; write x86_64-linux = buildImage"
build_fails 'buildIndex { images = { }; }' "argument images of buildIndex is empty"
build_fails 'buildIndex { images = { a = buildImage { name = "a"; }; b = buildImage { name = "b"; }; }; }' "have different names; give the argument name"
# A list of recipes that another user wrote cannot read files of the user.
echo '{"version":1,"images":["/etc/passwd"]}' >"$work/list.json"
if "$strata" inspect "$work/list.json" 2>"$work/log"; then fail "a file of the user"; fi
grep -q 'an image names /etc/passwd: it is not a store path' "$work/log" || { cat "$work/log"; fail "no reason"; }
