# strata copy to a failing registry: a push succeeds or fails with a clear error, the tag is never incomplete, and
# repeating the push completes it.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
export XDG_CACHE_HOME=$work/cache REGISTRY_AUTH_FILE=$work/none.json

# A layer that is large enough for an upload in several requests, and a small one.
image=$(build 'buildImage { name = "x"; layers = [ (buildLayer { deps = [ pkgs.python3 ]; maxLayers = 2; }) ]; config.Env = [ "A=1" ]; }')

start_registry "$work/registry"
proxy=
stop_proxy() { if [[ $proxy ]]; then kill "$proxy"; wait "$proxy" 2>/dev/null || true; proxy=; fi; }
trap 'stop_proxy; stop_registry' EXIT
# start_proxy FAULT: starts a proxy, and sets $host. Its log is $work/requests.
start_proxy() {
  stop_proxy
  rm -f "$work"/port "$work"/requests*
  python3 "$root/tests/peers/proxy.py" "$registry" "$work/port" "$work/requests" "$1" 2>"$work/proxy.log" &
  proxy=$!
  wait_for "$proxy" test -s "$work/port" || { cat "$work/proxy.log"; fail "the proxy ends"; }
  host=127.0.0.1:$(<"$work/port")
}
push() { rm -rf "$XDG_CACHE_HOME"; "$strata" copy "$image" "docker://$1" "${@:2}" >"$work/digest" 2>"$work/log"; }
# The tag is absent or complete.
whole() {
  if "$strata" copy "docker://$registry/$1" "oci:$work/layout" --quiet >/dev/null 2>"$work/check"; then
    "$strata" verify "$work/layout" | grep -q ' 0 problems$' || fail "$1 is broken"
    rm -rf "$work/layout"
  else
    grep -q 'the registry has no' "$work/check" || { cat "$work/check"; fail "$1 is broken"; }
    return 1
  fi
}

start_proxy none
push "$host/plain:t" || { cat "$work/log"; fail "push without faults"; }
whole plain:t || fail "there is no tag"
expected=$(<"$work/digest")
requests=$(wc -l <"$work/requests")

# The connection breaks everywhere: during a request, its body, and the response.
for kind in cut cut-body cut-answer; do
  for ((at = 1; at <= requests; at++)); do
    start_proxy "$kind:$at"
    push "$host/$kind-$at:t" || { cat "$work/log" "$work/requests"; fail "$kind:$at"; }
    same "$(<"$work/digest")" "$expected"
  done
done
for ((at = 1; at <= requests; at += 3)); do
  for kind in cut-body cut-answer; do whole "$kind-$at:t" || fail "$kind:$at left no tag"; done
done
# The upload of a large layer continues after a failure, if the registry kept its parts.
resumed=0
for at in 4 5 6; do
  start_proxy "resume:$at"
  push "$host/resumed-$at:t" --compression none || { cat "$work/log" "$work/requests"; fail "resume:$at"; }
  same "$("$strata" copy "docker://$registry/resumed-$at:t" "dir:$work/resumed" --quiet)" "$(<"$work/digest")"
  grep -q '^GET /v2/[^ ]*/blobs/uploads/[^ ]* 204 ' "$work/requests" && resumed=1
done
((resumed)) || fail "no upload was taken up again"

for fault in status-500 status-429 status-503; do
  for at in 2 5 9; do
    start_proxy "$fault:$at"
    push "$host/$fault-$at:t" || { cat "$work/log"; fail "$fault:$at"; }
    same "$(<"$work/digest")" "$expected"
  done
done
for at in 3 6 10; do
  start_proxy "expire:$at"
  push "$host/expire-$at:t" || { cat "$work/log" "$work/requests"; fail "expire:$at"; }
  whole "expire-$at:t" || fail "expire:$at left no tag"
done
start_proxy slow
push "$host/slow:t" || { cat "$work/log"; fail "slow"; }

# Uploads that continue at another origin do not send credentials there.
start_proxy redirect
push "$host/redirect:t" --dest-creds me:secret || { cat "$work/log"; fail "redirect"; }
whole redirect:t || fail "redirect left no tag"
same "$(sort -u "$work/requests.elsewhere")" none

# A push that cannot succeed reports an error, and leaves no tag.
start_proxy digest
push "$host/digest:t" && fail "another digest was taken"
grep -q 'the registry stored sha256:0000' "$work/log" || { cat "$work/log"; fail "the digest is not named"; }
whole digest:t && fail "a tag was left"
start_proxy long
"$strata" copy "docker://$host/plain:t" "oci:$work/long" >/dev/null 2>"$work/log" && fail "a document that ends early was taken"
grep -q 'reading the manifest' "$work/log" || { cat "$work/log"; fail "the document is not named"; }
[[ ! -e $work/long/index.json ]] || fail "a broken layout was left"
stop_proxy

# A push that is killed at any moment leaves the tag complete or absent, and the next push completes it.
for ((round = 1; round <= ${STRATA_KILLS:-8}; round++)); do
  rm -rf "$XDG_CACHE_HOME"
  timeout --foreground --signal=KILL "$(printf '0.%03d' $((RANDOM % 500)))" "$strata" copy "$image" "docker://$registry/killed-$round:t" \
    --quiet >/dev/null 2>&1 || true
  whole "killed-$round:t" || true
  "$strata" copy "$image" "docker://$registry/killed-$round:t" --quiet >"$work/digest" 2>"$work/log" || { cat "$work/log"; fail "after a kill"; }
  same "$(<"$work/digest")" "$expected"
done
stop_registry

# The disk of the registry is full.
mkdir "$work/small"
if as_root mount -t tmpfs -o size=4m,mode=777 strata-test "$work/small" 2>/dev/null; then
  trap 'stop_registry; as_root umount "$work/small"' EXIT
  mkdir "$work/small/registry"
  start_registry "$work/small/registry"
  push "$registry/full:t" && fail "the disk is full"
  grep -qE 'the server answered 5[0-9][0-9]' "$work/log" || { cat "$work/log"; fail "the status of the registry is not reported"; }
  whole full:t && fail "a tag was left"
  as_root mount -o remount,size=400m "$work/small"
  push "$registry/full:t" || { cat "$work/log"; fail "after the disk had room"; }
  whole full:t || fail "there is no tag"
  stop_registry
else
  skip_part "no tmpfs can be mounted: the full disk is not tried"
fi
