# Bases by reference: locked, built without a network, and pushed without the bytes of the base if the registry has
# them.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
export XDG_CACHE_HOME=$work/cache
start_registry "$work/first"
first=$registry first_pid=$registry_pid
start_registry "$work/second"
second=$registry
trap 'stop_registry; kill "$first_pid"' EXIT

# A base of two platforms.
base=$(build 'let image = architecture: ociImageManifest { extraConfig = { inherit architecture; config.Env = [ "FOR=${architecture}" ]; };
    layers = [ (ociLayerTar { files = [ { source = pkgs.busybox; destination = "/"; } ]; }) ]; };
  in ociImageLayout { manifests = [ (image "amd64") (image "arm64") ]; }')
digest=$("$strata" copy --all "oci:$base" "docker://$first/base:v1" --quiet)
"$strata" lock "docker://$first/base:v1" --output "$work/base.json"
same "$(jq -r .digest "$work/base.json")" "$digest"
same "$(jq '.images | length' "$work/base.json")" 2
(($(wc -c <"$work/base.json") < 4000)) || fail "the lock file is big"

app='(buildImage { name = "app"; tag = "t"; fromImage = lockedImage '"$work"'/base.json; inheritConfig = true; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; })'
path=$(build "$app")
same "$(jq .version "$path")" 2
detached=$(build "(lockedImage $work/base.json).detached")
same "$(nix-store -qR "$detached")" "$detached"
same "$(jq -r '.layers[0].origin' "$path")" "$first/base"
same "$("$strata" inspect --config "$path" | jq -c .config.Env)" '["FOR=amd64"]'
path_arm=$(build "buildImage { name = \"x\"; tag = \"t\"; arch = \"arm64\"; inheritConfig = true; fromImage = lockedImage { file = $work/base.json; arch = \"arm64\"; }; }")
same "$("$strata" inspect --config "$path_arm" | jq -c .config.Env)" '["FOR=arm64"]'

# A push to the same registry mounts the layers; another registry gets copies of them; archives and engines cause a
# download.
size=$(jq '.layers[0].size' "$path")
"$strata" copy "$path" "docker://$first/app:t" --json 2>"$work/log" >/dev/null
sent=$(sed -n 's/.*"bytes":\([0-9]*\).*"pushed".*/\1/p' "$work/log")
own=$(jq '[.layers[1:][].size] | add' "$path")
((sent < own && sent + size / 2 < own + size)) || fail "$sent bytes were sent, the base has $size"
"$strata" manifest "$first/app:t" | jq -e --arg digest "$(jq -r '.layers[0].digest' "$path")" '.layers[0].digest == $digest' >/dev/null || fail "another base"
"$strata" copy "$path" "docker://$second/app:t" --quiet >/dev/null
skopeo copy --quiet --src-tls-verify=false "docker://$second/app:t" "oci:$work/pulled:t"
"$strata" verify "$work/pulled" | grep -q ' 0 problems$' || fail "verify finds problems in the pushed image"
"$strata" copy "$(build "$app.detached")" "oci:$work/layout:t" --quiet >/dev/null
"$strata" verify "$work/layout" | grep -q ' 0 problems$' || fail "verify finds problems in the layout"

# Functions that need the files of the base report an error.
build_fails "makeContainerImage { name = \"x\"; fromImage = lockedImage $work/base.json; }" "use pullImage to have the base in the store"
build_fails "lockedImage { file = $work/base.json; arch = \"s390x\"; }" "no image matches linux/s390x"
sed 's/FOR=amd64/FOR=xmd64/' "$work/base.json" >"$work/changed.json"
build_fails "lockedImage $work/changed.json" "its config is not sha256:"

# The base has a new version.
"$strata" lock --update "$work/base.json" | grep -q "unchanged, $digest" || fail "it is unchanged"
newer=$(build 'ociImageLayout { manifests = [ (ociImageManifest { layers = [ (ociLayerTar { files = [ { source = pkgs.hello; destination = "/"; } ]; }) ]; extraConfig.architecture = "amd64"; }) ]; }')
"$strata" copy "oci:$newer" "docker://$first/base:v1" --quiet >/dev/null
if "$strata" lock --update "$work/base.json" 2>"$work/log"; then fail "a platform is gone"; fi
grep -q "has no image for linux/arm64" "$work/log" || { cat "$work/log"; fail "no reason"; }
"$strata" lock --update "$work/base.json" --platform linux/amd64 | tee "$work/messages" | grep -q "linux/amd64: 1 layers added, 1 removed, 0 the same" || { cat "$work/messages"; fail "the summary of lock --update"; }
