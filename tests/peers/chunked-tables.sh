# strata verify checks the tables of contents in zstd:chunked layers of skopeo and podman, and reports wrong ones.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command skopeo
need_command zstd
((EUID == 0)) || skip "a Debian 13 can be made and entered by root only"
online "$root/dev/debian13" >"$work/log" 2>&1 || { tail -n 3 "$work/log"; skip "mmdebstrap cannot make a Debian 13 here"; }
in13() {
  "$root/dev/debian13" run env CONTAINERS_STORAGE_CONF="$work/storage.conf" "$@" 2>>"$work/log" ||
    { tail -n 5 "$work/log"; fail "$*"; }
}
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/containers" "$work/run" >"$work/storage.conf"
start_registry "$work/registry"
trap stop_registry EXIT

python3 "$root/tests/peers/attributes.py" "$work/base.tar"
image=$(build 'buildImage { name = "tables"; tag = "t"; fromImage = '"$work/base.tar"'; maxLayers = 3; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
"$strata" copy --quiet "$image" "oci:$work/plain:t" >/dev/null
"$strata" copy --quiet "$image" "docker://$registry/tables:by_strata" --compression zstd:chunked >/dev/null
in13 skopeo copy --quiet --dest-tls-verify=false --dest-compress-format zstd:chunked "oci:$work/plain:t" "docker://$registry/tables:skopeo"
id=$(in13 podman pull --quiet "oci:$work/plain:t")
in13 podman push --quiet --tls-verify=false --compression-format zstd:chunked "$id" "docker://$registry/tables:podman"

verified() { "$strata" verify "$1" >"$work/verified" 2>&1 && grep -q ' 0 problems$' "$work/verified"; }
for made_by in by_strata skopeo podman; do
  verified "docker://$registry/tables:$made_by" || { cat "$work/verified"; fail "verify finds problems in layers of $made_by"; }
  "$strata" copy --quiet "docker://$registry/tables:$made_by" "oci:$work/$made_by:t" >/dev/null
  verified "oci:$work/$made_by" || { cat "$work/verified"; fail "verify finds problems in a layout with layers of $made_by"; }
done
# Flipped bytes, and wrong tables. podman's layers are the same as those of its skopeo.
for made_by in by_strata skopeo; do
  for fault in table split chunk offset outside size bomb digest another overlap twice mode owner xattrs name missing more table-bomb; do
    rm -rf "$work/malformed"
    python3 "$root/tests/peers/malformed_toc.py" "$work/$made_by" "$work/malformed" "$fault"
    if verified "oci:$work/malformed"; then fail "verify accepts a layer of $made_by with a wrong $fault"; fi
    case $fault in
      # Data at a wrong position cannot be decompressed, or results in another tar.
      chunk | offset) says="table of contents\|checksum\|frame\|its tar is" ;;
      *) says="table of contents" ;;
    esac
    grep -q ' 1 problem$' "$work/verified" && grep -q "(layer [0-9]*): .*\($says\)" "$work/verified" ||
      { cat "$work/verified"; fail "verify does not report the $fault of $made_by"; }
  done
done
# skopeo 1.9 and podman 4.3 write a tar that is shorter than those of Python, so the diff_ids differ, which verify reports
# (containers/podman#20917).
if skopeo --version | grep -q ' 1\.9\.'; then
  skopeo copy --quiet --dest-tls-verify=false --dest-compress-format zstd:chunked "oci:$work/plain:t" "docker://$registry/tables:old"
  if verified "docker://$registry/tables:old"; then fail "verify misses a wrong diff_id"; fi
  grep -q ' 2 problems$' "$work/verified" && grep -q "its tar is .*, but the diff_id in the image's config is" "$work/verified" ||
    { cat "$work/verified"; fail "verify does not say that the diff_id is wrong"; }
fi
