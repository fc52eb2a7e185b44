# zstd:chunked with a newer podman, Debian 13's: a pull in parts, what `diff --chunked` says of it, and skopeo's own layers.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
((EUID == 0)) || skip "a Debian 13 can be made and entered by root only"
debian13=$(online "$root/dev/debian13" 2>"$work/log") || { tail -n 3 "$work/log"; skip "mmdebstrap cannot make a Debian 13 here"; }
in13() {
  "$root/dev/debian13" run env CONTAINERS_STORAGE_CONF="$work/storage.conf" "$@" 2>>"$work/log" ||
    { tail -n 5 "$work/log"; fail "$*"; }
}
printf '{"default":[{"type":"insecureAcceptAnything"}]}' >"$debian13/etc/containers/policy.json"
cat >"$work/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$work/containers"
runroot = "$work/run"
[storage.options]
pull_options = {enable_partial_images = "true", use_hard_links = "false", ostree_repos=""}
CONF
start_registry "$work/registry"
start_counter "${registry#*:}"
trap 'kill $counter; stop_registry' EXIT

# dev/bench names an image of its own, and updates to measure besides: names of store paths that change.
image=${chunked_image:-}
[[ $image ]] || image=$(build '(buildImage { name = "chunked"; tag = "t"; maxLayers = 8; config.Cmd = [ "${pkgs.python3}/bin/python3" "-c" "print(6 * 7)" ]; })')
updates=() kinds=(theirs ours)
if [[ ${chunked_updates-} ]]; then
  read -ra updates <<<"$chunked_updates"
  kinds=(gzip zstd theirs ours)
fi
TIMEFORMAT='%R %U %S'
# send KIND TAG: pushes $work/TAG; how long it took.
send() {
  local kind=$1 tag=$2 took
  took=$({
    time case $kind in
      theirs)
        in13 skopeo copy --quiet --dest-tls-verify=false --dest-compress-format zstd:chunked --dest-compress-level 3 \
          "oci:$work/$tag:t" "docker://$registry/theirs:$tag" >&3
        ;;
      *)
        # Its cache is the test's own.
        XDG_CACHE_HOME=$work/cache "$strata" copy --quiet "oci:$work/$tag" "docker://$registry/$kind:$tag" \
          --compression "${kind/ours/zstd:chunked}" >&3
        ;;
    esac
  } 3>/dev/null 2>&1)
  awk '{ printf "%.1f s, %.1f s of processor time\n", $1, $2 + $3 }' <<<"$took"
}
"$strata" copy --quiet "$image" "oci:$work/old:t" >/dev/null
python3 "$root/tests/peers/rebuild.py" "$work/old" "$work/new" >/dev/null
for kind in "${kinds[@]}"; do
  echo "$kind: pushed in $(send "$kind" old)"
  send "$kind" new >/dev/null
done
[[ ${chunked_updates-} ]] || send zstd new >/dev/null
for update in "${updates[@]}"; do
  count=$(python3 "$root/tests/peers/rebuild.py" "$work/old" "$work/$update" "$update")
  echo "an update of $update changes $count store paths"
  for kind in "${kinds[@]}"; do send "$kind" "$update" >/dev/null; done
  predicted=$("$strata" diff --chunked --json "oci:$work/old" "oci:$work/$update" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["chunked"]["bytes"])') || (($? == 1))
  echo "diff --chunked says $predicted bytes"
  rm -r "${work:?}/$update"
done

# fetched IMAGE: pulls it, and how many bytes came.
fetched() {
  local before
  before=$(received)
  in13 podman pull --quiet --tls-verify=false "$counted/$1" >/dev/null
  echo $(($(received) - before))
}
# What is in an image: files, modes, owners, times, links, contents. Of what it pulls in parts podman
# sets times of files only, whoever made the layers (safeMkdir and safeSymlink in containers/container-libs,
# storage/pkg/chunked/filesystem_linux.go).
cat >"$debian13/root/listing" <<'SH'
cd "$(podman image mount "$1")" || exit
find . -type f -printf '%P %y %m %U:%G %T@ %l %s\n' -o -type d -printf '%P %y %m %U:%G\n' -o -printf '%P %y %m %U:%G %l\n' | sort
find . -type f -print0 | sort -z | xargs -0 sha256sum
SH
listing() { in13 sh /root/listing "$counted/$1"; }
whole=$(fetched zstd:new)
listing zstd:new >"$work/as-a-whole"
for kind in "${kinds[@]}"; do
  in13 podman rmi --all --force >/dev/null
  first=$(fetched "$kind:old")
  for update in "${updates[@]}"; do
    echo "$kind, an update of $update: $(fetched "$kind:$update") bytes"
    in13 podman rmi "$counted/$kind:$update" >/dev/null
  done
  part=$(fetched "$kind:new")
  echo "$(in13 podman --version), $kind: $first bytes at first, $part after a mass rebuild; $whole as plain zstd"
  printf -v "$kind" %s "$part"
done
listing ours:new >"$work/in-parts"
diff "$work/in-parts" "$work/as-a-whole" >"$work/differences" || { head "$work/differences"; fail "what was pulled in parts differs"; }
python=$(in13 skopeo inspect --config --tls-verify=false "docker://$registry/ours:new" |
  python3 -c 'import json, sys; print((json.load(sys.stdin)["config"].get("Cmd") or [""])[0])')
[[ ${chunked_image:-} ]] || same "$(in13 sh -c "chroot \$(podman image mount $counted/ours:new) $python -c 'print(6 * 7)'")" 42
((ours < theirs && ours * 20 < whole)) || fail "our layers are no better: $ours, theirs $theirs, whole $whole"

status=0
"$strata" diff --chunked --json "oci:$work/old" "oci:$work/new" >"$work/diff" || status=$?
same "$status" 1
read -r predicted ranges < <(python3 -c 'import json, sys; pull = json.load(open(sys.argv[1]))["chunked"]; print(pull["bytes"], pull["ranges"])' "$work/diff")
echo "predicted: $predicted bytes in $ranges ranges"
# Besides there are manifest and config, and the headers of answers and of their parts.
((ours >= predicted && ours < predicted * 5 / 4 + 300 * ranges)) || fail "diff --chunked says $predicted bytes, and $ours came"

# Registries that do not answer several ranges: what podman does is in docs/chunked.md. Whole, the layers can always be had.
sed 's/enable_partial_images = "true"/enable_partial_images = "false"/' "$work/storage.conf" >"$work/storage-whole.conf"
for answer in 200 400 416 501; do
  python3 "$root/tests/peers/ranges.py" "${registry#*:}" "$work/port-$answer" "$answer" &
  ranges_pid=$!
  trap 'kill $counter $ranges_pid; stop_registry' EXIT
  wait_for "$ranges_pid" test -s "$work/port-$answer"
  bad=127.0.0.1:$(<"$work/port-$answer")
  in13 podman rmi --all --force >/dev/null
  status=0
  "$root/dev/debian13" run env CONTAINERS_STORAGE_CONF="$work/storage.conf" podman pull --quiet --tls-verify=false "$bad/ours:old" \
    >"$work/said" 2>&1 || status=$?
  case $answer in
    416 | 501) ((status == 125)) && grep -q 'partial pull of blob.*'"$answer" "$work/said" || fail "podman takes $answer: $(<"$work/said")" ;;
    *) ((status == 0)) || fail "podman does not take $answer: $(<"$work/said")" ;;
  esac
  in13 podman rmi --all --force >/dev/null
  in13 env CONTAINERS_STORAGE_CONF="$work/storage-whole.conf" podman pull --quiet --tls-verify=false "$bad/ours:old" >/dev/null
  kill "$ranges_pid"
  trap 'kill $counter; stop_registry' EXIT
done
