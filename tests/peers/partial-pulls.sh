# zstd:chunked with podman of this machine and of Debian 13: partial pulls, the received bytes, the predictions of `diff
# --chunked`, and layers of skopeo. The files of a partial pull are correct, and the image is pushed again.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command skopeo
need_command podman
need_command jq
((EUID == 0)) || skip "a Debian 13 can be made and entered by root only"
# here and in13 run a command on this machine and in Debian 13, each with its own storage. Mounts end with the command.
in_storage() {
  local storage=$1
  shift
  "$@" 2>>"$work/log" || { tail -n 5 "$work/log" >&2; fail "$storage: $*"; }
}
here() { in_storage here unshare --mount --propagation private env CONTAINERS_STORAGE_CONF="$work/here.conf" "$@"; }
in13() { in_storage in13 "$root/dev/debian13" run env CONTAINERS_STORAGE_CONF="$work/in13.conf" "$@"; }
podmans=(here)
if online "$root/dev/debian13" >"$work/log" 2>&1; then
  podmans=(in13 here)
else
  tail -n 3 "$work/log"
  skip_part "mmdebstrap cannot make a Debian 13 here"
fi
for podman in "${podmans[@]}"; do
  cat >"$work/$podman.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$work/containers-$podman"
runroot = "$work/run-$podman"
[storage.options]
pull_options = {enable_partial_images = "true", use_hard_links = "false", ostree_repos=""}
CONF
  sed 's/enable_partial_images = "true"/enable_partial_images = "false"/' "$work/$podman.conf" >"$work/$podman-whole.conf"
done
start_registry "$work/registry"
start_counter "${registry#*:}"
trap 'kill $counter; stop_registry' EXIT

# dev/bench sets another image, and additional updates: names of store paths that change.
image=${chunked_image:-}
if [[ ! $image ]]; then
  python3 "$root/tests/peers/attributes.py" "$work/base.tar"
  image=$(build '(buildImage { name = "chunked"; tag = "t"; fromImage = '"$work/base.tar"'; maxLayers = 8;
    config.Cmd = [ "${pkgs.python3}/bin/python3" "-c" "print(6 * 7)" ]; })')
fi
updates=() kinds=(by_strata)
if [[ ${chunked_updates-} ]]; then
  read -ra updates <<<"$chunked_updates"
  kinds=(gzip zstd by_strata)
fi
# The skopeo of each podman makes layers.
for podman in "${podmans[@]}"; do kinds=("by-$podman" "${kinds[@]}"); done
TIMEFORMAT='%R %U %S'
# send KIND TAG: pushes $work/TAG, and prints the elapsed time.
send() {
  local kind=$1 tag=$2 took
  took=$({
    time case $kind in
      by-*)
        "${kind#by-}" skopeo copy --quiet --dest-tls-verify=false --dest-compress-format zstd:chunked --dest-compress-level 3 \
          "oci:$work/$tag:t" "docker://$registry/$kind:$tag" >&3
        ;;
      *)
        # The cache belongs to the test.
        XDG_CACHE_HOME=$work/cache "$strata" copy --quiet "oci:$work/$tag" "docker://$registry/$kind:$tag" \
          --compression "${kind/by_strata/zstd:chunked}" >&3
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
  predicted=$("$strata" diff --chunked --json "oci:$work/old" "oci:$work/$update" | jq .chunked.bytes) || (($? == 1))
  echo "diff --chunked says $predicted bytes"
  rm -r "${work:?}/$update"
done
status=0
"$strata" diff --chunked --json "oci:$work/old" "oci:$work/new" >"$work/diff" || status=$?
same "$status" 1
read -r predicted ranges < <(jq -r '[.chunked.bytes, .chunked.ranges] | join(" ")' "$work/diff")
echo "predicted: $predicted bytes in $ranges ranges"

# fetched IMAGE: pulls it, and prints the number of received bytes.
fetched() {
  local before
  before=$(received)
  "$podman" podman pull --quiet --tls-verify=false "$counted/$1" >/dev/null
  echo $(($(received) - before))
}
# Lists the contents of an image. In a partial pull, podman sets neither times nor owners of symbolic links, and adding
# a file to a directory changes the directory's time, whichever tool made the layers (safeMkdir and safeSymlink in
# containers/storage v1.43.0, pkg/chunked/storage_linux.go, and in v1.57.2, pkg/chunked/filesystem_linux.go).
listing() {
  # shellcheck disable=SC2016
  "$podman" sh -c 'tar -C "$(podman image mount "$1")" --format=pax --pax-option=delete=atime,delete=ctime --sort=name \
    --numeric-owner --xattrs --xattrs-include="user.*" --xattrs-include=security.capability -cf - .' sh "$counted/$1" |
    python3 "$root/tests/peers/listing.py" | sed -E '/^(dir|symlink) /s/ time=[^ ]*$//; /^symlink /s/ 777 [0-9]+:[0-9]+ / /'
}
diff_ids() { skopeo inspect --config --tls-verify=false "docker://$registry/$1" | jq -c .rootfs.diff_ids; }

for podman in "${podmans[@]}"; do
  version=$("$podman" podman --version)
  whole=$(fetched zstd:new)
  listing zstd:new >"$work/as-a-whole"
  declare -A parts=()
  for kind in "${kinds[@]}"; do
    # Layers with the other format of tables are pulled completely.
    [[ $kind != by-* || $kind == "by-$podman" ]] || continue
    "$podman" podman rmi --all --force >/dev/null
    first=$(fetched "$kind:old")
    for update in "${updates[@]}"; do
      echo "$version, $kind, an update of $update: $(fetched "$kind:$update") bytes"
      "$podman" podman rmi "$counted/$kind:$update" >/dev/null
    done
    part=$(fetched "$kind:new")
    echo "$version, $kind: $first bytes at first, $part after a mass rebuild; $whole as plain zstd"
    parts[$kind]=$part
    [[ $kind == by_strata ]] || continue
    listing by_strata:new >"$work/in-parts"
    diff "$work/in-parts" "$work/as-a-whole" >"$work/differences" ||
      { head "$work/differences"; fail "$version: the files of a partial pull differ"; }
    if [[ ! ${chunked_image:-} ]]; then
      python=$(skopeo inspect --config --tls-verify=false "docker://$registry/by_strata:new" | jq -r '.config.Cmd[0]')
      # shellcheck disable=SC2016
      same "$("$podman" sh -c 'chroot "$(podman image mount "$1")" "$2" -c "print(6 * 7)"' sh "$counted/by_strata:new" "$python")" 42
      for line in "file './etc/another-name' 755 0:0 'SCHILY.xattr.security.capability=" "hardlink './etc/ping' " "dir './etc/sticky' 1777 7:0 'SCHILY.xattr.user.of-directory=1'"; do
        grep -qF "$line" "$work/in-parts" || fail "$version: missing: $line"
      done
    fi
  done
  ((parts[by_strata] < parts[by-$podman] && parts[by_strata] * 20 < whole)) ||
    fail "the layers of strata are no better: ${parts[by_strata]}, those of podman ${parts[by-$podman]}, whole $whole"
  # In addition there are manifest, config, and the headers of responses and their parts. podman 4.3 reads no tar-split
  # data.
  ((parts[by_strata] < predicted * 5 / 4 + 300 * ranges)) || fail "diff --chunked predicts $predicted bytes, but ${parts[by_strata]} were pulled"
  [[ $version == *" 4.3."* ]] || ((parts[by_strata] >= predicted)) || fail "diff --chunked predicts $predicted bytes, but ${parts[by_strata]} were pulled"

  # podman 5 makes the same layers again after a partial pull, from the tar-split data. podman 4.3 takes the compressed
  # layer's digest for the diff_id after a partial pull (commitLayer in containers/image v5.23.1,
  # storage/storage_dest.go, "FIXME: what to do with the uncompressed digest?") and keeps no tar-split data, so that it
  # cannot push such images, whichever tool made the layers.
  if [[ $version == *" 4.3."* ]]; then
    if ("$podman" podman push --quiet "$counted/by_strata:new" "dir:$work/pushed") >"$work/push" 2>&1; then fail "podman 4.3 pushes an image of a partial pull"; fi
    grep -q "Digest did not match" "$work/push" || { cat "$work/push"; fail "podman 4.3 does not push for another reason"; }
    continue
  fi
  expected=$(diff_ids by_strata:new)
  "$podman" podman push --quiet "$counted/by_strata:new" "dir:$work/pushed" >/dev/null
  same "$(jq -c '[.layers[].digest]' "$work/pushed/manifest.json")" "$expected"
  for blob in $(jq -r '.[] | ltrimstr("sha256:")' <<<"$expected"); do
    same "$(sha256sum <"$work/pushed/$blob" | cut -d ' ' -f 1)" "$blob"
  done
  "$podman" podman push --quiet --tls-verify=false "$counted/by_strata:new" "$registry/pushed:new" >/dev/null
  same "$(diff_ids pushed:new)" "$expected"
  "$strata" verify "docker://$registry/pushed:new" | grep -q ' 0 problems$' || fail "verify finds problems in podman's push"
done

# Registries without support for several ranges: docs/chunked.md describes podman's behaviour. A complete pull always
# succeeds.
for answer in 200 400 416 501; do
  python3 "$root/tests/peers/ranges.py" "${registry#*:}" "$work/port-$answer" "$answer" &
  ranges_pid=$!
  trap 'kill $counter $ranges_pid; stop_registry' EXIT
  wait_for "$ranges_pid" test -s "$work/port-$answer"
  bad=127.0.0.1:$(<"$work/port-$answer")
  for podman in "${podmans[@]}"; do
    version=$("$podman" podman --version)
    "$podman" podman rmi --all --force >/dev/null
    status=0
    ("$podman" podman pull --quiet --tls-verify=false "$bad/by_strata:old") >"$work/out" 2>&1 || status=$?
    case "$version, $answer" in
      *" 4.3."*", "* | *", 200" | *", 400") ((status == 0)) || fail "$version does not take $answer: $(<"$work/out")" ;;
      *) ((status)) && grep -q 'partial pull of blob.*'"$answer" "$work/out" || fail "$version takes $answer: $(<"$work/out")" ;;
    esac
    "$podman" podman rmi --all --force >/dev/null
    "$podman" env CONTAINERS_STORAGE_CONF="$work/$podman-whole.conf" podman pull --quiet --tls-verify=false "$bad/by_strata:old" >/dev/null
  done
  kill "$ranges_pid"
  trap 'kill $counter; stop_registry' EXIT
done
