# Test data of other projects: every archive and layout in checkouts is copied, verified, inspected and listed, and
# strata copies the same ones as skopeo. STRATA_CORPUS names checkouts, separated by colons, of
# google/go-containerregistry, containers/image, opencontainers/umoci and containerd/containerd, which are not part of
# this repository.
. "$root/tests/lib.sh"
[[ ${STRATA_CORPUS-} ]] || skip "STRATA_CORPUS names no checkouts of go-containerregistry, containers/image, umoci or containerd"
need_command skopeo
export XDG_CACHE_HOME=$work/cache

# Differences between strata and skopeo, with their reasons.
declare -A otherwise=(
  [testdata/test_gc_index]="copies: all three names lead to one image; skopeo asks for one of them"
)

# verdict COMMAND…: prints whether it succeeds.
verdict() {
  rm -rf "$work/out"
  if timeout 60 "$@" >"$work/output" 2>&1 </dev/null; then echo copies; else echo refuses; fi
}
skopeo_verdict() {
  local source found=refuses
  for source in "$@"; do
    [[ $found == copies ]] || found=$(verdict skopeo --insecure-policy copy --quiet "$source" "oci:$work/out:x")
  done
  echo "$found"
}

count=0 differences=0
IFS=: read -ra checkouts <<<"$STRATA_CORPUS"
while IFS= read -r found; do
  if [[ $found == */oci-layout ]]; then
    image=${found%/oci-layout}
    other=$(skopeo_verdict "oci:$image")
  else
    image=$found
    other=$(skopeo_verdict "docker-archive:$image" "oci-archive:$image")
  fi
  own=$(verdict "$strata" copy --quiet "$image" "oci:$work/out:x")
  cp "$work/output" "$work/why"
  name=$(basename "$(dirname "$image")")/$(basename "$image")
  count=$((count + 1))
  if [[ $own != "$other" && ${otherwise[$name]-} != "$own: "* ]]; then
    echo "$name: strata $own, skopeo $other: $(tail -n 1 "$work/why")"
    differences=$((differences + 1))
  fi
  # No input causes a panic or a hang, and a copy is complete or reported as damaged.
  is_artifact=
  for command in verify inspect sbom; do
    status=0
    timeout 60 "$strata" "$command" "$image" >"$work/output" 2>&1 </dev/null || status=$?
    ((status <= 2)) || { cat "$work/output"; fail "$command of $name ends with $status"; }
    lacks -q panicked "$work/output"
    if [[ $command == inspect ]] && grep -q '^  artifact ' "$work/output"; then is_artifact=1; fi
    # An artifact has no packages.
    if [[ $own == copies && $command != verify && $status != 0 && ! ($command == sbom && $is_artifact) ]]; then
      cat "$work/output"
      fail "$command of $name fails"
    fi
  done
done < <(find "${checkouts[@]}" \( -name vendor -o -name .git \) -prune -o \
  \( -name '*.tar' -o -name '*.tar.gz' -o -name '*.tar.zst' -o -name '*.tgz' -o -name oci-layout \) -type f -print | sort)
((count > 0)) || fail "there is no archive or layout in $STRATA_CORPUS"
((differences == 0)) || fail "$differences of $count images are decided otherwise"
echo "$count images"
