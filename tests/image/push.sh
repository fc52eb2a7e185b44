# strata copy to a real registry: sent blobs, existing blobs, and pulls by other tools.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
export XDG_CACHE_HOME=$work/cache
start_registry "$work/registry"
trap 'stop_registry' EXIT

first=$(greeter pushed:latest one)
second=$(greeter pushed:latest two)
push() { "$strata" copy "$@" 2>"$work/log" || { cat "$work/log" >&2; fail "copy $*"; }; }
# Prints the number of sent layers. A push that sends nothing prints nothing.
sent() { if [[ -s $work/log ]]; then sed -n 's/^pushed \([0-9]*\) of .*/\1/p' "$work/log"; else echo 0; fi; }

digest=$(push "$first" "docker://$registry/pushed:one" --additional-tag also)
same "$(sent)" 2
grep -qE '^layer 1 coreutils-[^ ]*: sent, [0-9.]+ MB$' "$work/log" || { cat "$work/log"; fail "no layer is called coreutils"; }
grep -qE '^pushed 2 of 2 layers, [0-9.]+ MB of [0-9.]+ MB, in [0-9.]+ s; compressed layers: 0 trusted, 0 verified, 2 made$' "$work/log" || { cat "$work/log"; fail "there is no summary"; }
push "$first" "docker://$registry/pushed:one" >/dev/null
same "$(sent)" 0
# On a machine that never pushed, the blobs of the tag are verified, and not made again.
XDG_CACHE_HOME=$work/empty push "$first" "docker://$registry/pushed:one" >"$work/digest"
same "$(sent)" 0
same "$(<"$work/digest")" "$digest"
# A changed script causes an upload of its layer and the config.
XDG_CACHE_HOME=$work/empty push "$second" "docker://$registry/pushed:two" --cache-from one >/dev/null
same "$(sent)" 1
# A push to another repository mounts all blobs.
push "$first" "docker://$registry/other:one" --mount-from pushed >/dev/null
same "$(sent)" 0
# On a terminal: bars with the titles of layers. One line remains.
script --quiet --return --command "stty columns 120; TERM=xterm NO_COLOR=1 '$strata' copy '$first' 'docker://$registry/terminal:t'" /dev/null >"$work/terminal" </dev/null ||
  { cat "$work/terminal"; fail "copy on a terminal"; }
grep -qE 'layer 1 coreutils-' "$work/terminal" || { cat "$work/terminal"; fail "the bar is not named"; }
grep -qE '[0-2]/2 layers, ' "$work/terminal" || { cat "$work/terminal"; fail "there is no bar for the whole"; }
same "$(grep -c 'pushed 2 of 2 layers, ' "$work/terminal")" 1
lacks -q 'sent, ' "$work/terminal"
lacks -qP '\x1b\[[0-9;]*m' "$work/terminal"
for compression in zstd none; do
  push "$second" "docker://$registry/$compression:two" --compression "$compression" >/dev/null
done

if [[ ${docker-} ]]; then
  for name in pushed:one pushed:two pushed:also other:one none:two; do
    # The private daemon uses the machine's loopback.
    docker pull --quiet "$registry/$name" >/dev/null
    expected=one
    [[ $name != *:two ]] || expected=two
    same "$(run "$registry/$name")" "$expected"
    docker rmi "$registry/$name" >/dev/null
  done
fi
if command -v skopeo >/dev/null; then
  for name in pushed:one zstd:two none:two; do
    skopeo copy --quiet --src-tls-verify=false "docker://$registry/$name" "oci:$work/pulled:${name%:*}"
  done
  "$strata" verify "$work/pulled" | grep -q ' 0 problems$' || fail "verify finds problems in the pulled image"
fi

# The programs of the image.
program=$(build 'let image = buildImage { name = "'"$registry"'/by-program"; tag = "x"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; };
  in image.copyToRegistry')
"$program/bin/copy-to-registry" --quiet >"$work/digest"
[[ $(<"$work/digest") == sha256:* ]] || fail "copy-to-registry prints $(<"$work/digest")"
to=$(build '(buildImage { name = "x"; tag = "t"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }).copyTo')
"$to/bin/copy-to" "oci:$work/layout" >/dev/null
"$to/bin/copy-to" "oci:$work/layout:second" >/dev/null
same "$(jq '.manifests | length' "$work/layout/index.json")" 2
"$strata" verify "$work/layout" | grep -q ' 0 problems$' || fail "verify finds problems in the layout"
"$to/bin/copy-to" "docker-archive:$work/archive.tar" >/dev/null
"$strata" verify "$work/archive.tar" | grep -q ' 0 problems$' || fail "verify finds problems in the archive"
if [[ ${docker-} ]]; then
  daemon=$(build '(buildImage { name = "daemon"; tag = "t"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }).copyToDockerDaemon')
  "$daemon/bin/copy-to-docker-daemon" >/dev/null
  same "$(run daemon:t)" "Hello, world!"
  docker rmi daemon:t >/dev/null
fi

# Two platforms, pushed with their index. Each pull selects its platform.
layout=$(build 'let image = architecture: ociImageManifest { extraConfig = { inherit architecture; config.Cmd = [ architecture ]; };
    layers = [ (ociLayerTar { files = [ { source = pkgs.hello; destination = "/"; } ]; }) ]; };
  in ociImageLayout { manifests = [ (image "amd64") (image "arm64") ]; }')
push "$layout" "docker://$registry/platforms:all" --all >/dev/null
push "$layout" "docker://$registry/platforms:own" >/dev/null
if command -v skopeo >/dev/null; then
  for architecture in amd64 arm64; do
    same "$(skopeo inspect --config --tls-verify=false --override-arch "$architecture" "docker://$registry/platforms:all" |
      jq -r '.config.Cmd[0]')" "$architecture"
  done
fi

# Errors of pushes.
fails() {
  local text=$1 status=0
  shift
  "$strata" "$@" >/dev/null 2>"$work/log" || status=$?
  ((status)) || fail "this should fail: $*"
  grep -qF -- "$text" "$work/log" || { cat "$work/log" >&2; fail "the message of $* lacks: $text"; }
}
fails "is not an image reference" copy "$first" "docker://$registry/Upper"
fails "destinations are docker://" copy "$first" "registry.example.com/x"
fails "a destination has a tag, not a digest" copy "$first" "docker://$registry/x@$digest"
stop_registry

# A registry with a login: the password is the test vector of bcrypt.
echo 'me:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW' >"$work/htpasswd"
start_registry "$work/private" "auth: { htpasswd: { realm: test, path: $work/htpasswd } }"
export HOME=$work/home REGISTRY_AUTH_FILE=$work/none.json
fails "Log in first" copy "$first" "docker://$registry/x"
fails "401" copy "$first" "docker://$registry/x" --dest-creds me:wrong
fails "reading $work/nothing.json" copy "$first" "docker://$registry/x" --authfile "$work/nothing.json"
fails "the credentials have no colon" copy "$first" "docker://$registry/x" --dest-creds me
push "$first" "docker://$registry/x" --dest-creds 'me:U*U' >/dev/null
same "$(sent)" 2
printf '{ "auths": { "%s": { "auth": "%s" } } }' "$registry" "$(printf 'me:U*U' | base64)" >"$work/auth.json"
push "$first" "docker://$registry/x" --authfile "$work/auth.json" >/dev/null
same "$(sent)" 0
REGISTRY_AUTH_FILE=$work/auth.json push "$first" "docker://$registry/x" >/dev/null
same "$(sent)" 0
lacks -rqF 'U*U' "$work/log" "$work/private/log"
stop_registry
fails "Connection refused" copy "$first" docker://127.0.0.1:1/x
