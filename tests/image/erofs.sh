# erofs-cache: layers as EROFS images. The kernel mounts them and shows what their tars say, fsck.erofs finds no error, and
# overlayfs makes of a stack of them what engines make of the layers.
. "$root/tests/lib.sh"
need_command python3
need_command fsck.erofs
((EUID == 0)) || skip "images of file systems are mounted as root only"
grep -q erofs /proc/filesystems || modprobe erofs 2>/dev/null || skip "this kernel has no EROFS"
seed=${EROFS_SEED:-1} count=${EROFS_IMAGES:-100}
echo "seed $seed"
export XDG_CACHE_HOME=$work/cache
trees=$root/tests/image/erofs_trees.py
mkdir "$work/mounted" "$work/images"
trap 'umount -q "$work/mounted" "$work"/merged "$work"/stack/* 2>/dev/null || true' EXIT

# files CACHE: its layers, in order.
files() { find "$1" -name '*.erofs' | sort; }
# file CACHE DIFF_ID
file() {
  local hex=${2#sha256:}
  echo "$1/sha256/${hex:0:2}/$hex.erofs"
}
mounted() {
  mount -t erofs -o ro "$1" "$work/mounted"
  shift
  local status=0
  "$@" || status=$?
  umount "$work/mounted"
  return "$status"
}

# An image of store paths, and the same from a layout and from a registry's gzip: one set of bytes.
image=$(build '(buildImage { name = "erofs"; tag = "t"; maxLayers = 5; config.Cmd = [ "${pkgs.python3}/bin/python3" ];
  copyToRoot = pkgs.runCommand "root" { } "mkdir -p $out/etc && echo x >$out/etc/x && ln -s x $out/etc/y"; })')
"$strata" copy "$image" "erofs-cache:$work/cache-1" --json 2>"$work/event" >/dev/null
layers=$(jq '.layers | length' "$image")
same "$(tail -n 1 "$work/event" | jq -c '[.event, .layers, .layersPresent, .layersRemoved]')" "[\"copied\",$layers,0,0]"
same "$(files "$work/cache-1" | wc -l)" "$layers"
"$strata" copy --quiet "$image" "oci:$work/layout:t" >/dev/null
"$strata" copy --quiet "oci:$work/layout:t" "erofs-cache:$work/cache-2" >/dev/null
skopeo copy --quiet --dest-compress --dest-compress-format gzip "oci:$work/layout:t" "dir:$work/gzip"
"$strata" copy --quiet "dir:$work/gzip" "erofs-cache:$work/cache-3" >/dev/null
while read -r layer; do
  for other in cache-2 cache-3; do
    cmp "$layer" "${layer/cache-1/$other}" || fail "$layer depends on where the layer comes from"
  done
  fsck.erofs "$layer" >/dev/null || fail "fsck.erofs finds an error in $layer"
done < <(files "$work/cache-1")
while read -r diff_id; do
  mounted "$(file "$work/cache-1" "$diff_id")" \
    python3 "$trees" tar "$work/layout/blobs/sha256/${diff_id#sha256:}" "$work/mounted"
done < <(jq -r '.layers[].diff_ids' "$image")

# Existing files are read: a right one stays, damaged ones are written again, with what belongs to the old one gone.
mapfile -t layer < <(files "$work/cache-1")
before=$(stat -c %i "${layer[@]}")
"$strata" copy "$image" "erofs-cache:$work/cache-1" >/dev/null 2>"$work/log"
grep -q "^$layers layers were already present, 0 written" "$work/log" || { cat "$work/log"; fail "layers are written twice"; }
same "$(stat -c %i "${layer[@]}")" "$before"
sha256sum "${layer[@]}" >"$work/sums"
# The byte differs from the one before.
byte=x
[[ $(dd if="${layer[0]}" bs=1 skip=9000 count=1 status=none | tr -d '\0') != x ]] || byte=y
printf %s "$byte" | dd of="${layer[0]}" bs=1 seek=9000 conv=notrunc status=none
truncate -s 1000 "${layer[1]}"
: >"${layer[2]}"
touch "${layer[0]}.dmverity"
"$strata" copy "$image" "erofs-cache:$work/cache-1" >/dev/null 2>"$work/log"
grep -q "^$((layers - 3)) layers were already present, 3 written" "$work/log" || { cat "$work/log"; fail "damage is not seen"; }
sha256sum --quiet --check "$work/sums" || fail "a layer has changed"
[[ ! -e ${layer[0]}.dmverity ]] || fail "the hashes of another file are left"

# A layer whose digest is not its diff_id is not written.
python3 - "$work/wrong.json" "$image" <<'PYTHON'
import json, sys
recipe = json.load(open(sys.argv[2]))
first, second = recipe["layers"][0], recipe["layers"][1]
first["paths"] = second["paths"]
json.dump(recipe, open(sys.argv[1], "w"))
PYTHON
if "$strata" copy --quiet "$work/wrong.json" "erofs-cache:$work/cache-4" 2>"$work/error"; then fail "a layer is taken for another"; fi
grep -q 'layer 1 now has the digest' "$work/error" || fail "$(<"$work/error")"
[[ ! -e $(file "$work/cache-4" "$(jq -r '.layers[0].diff_ids' "$image")") ]] || fail "the wrong layer is there"
same "$(find "$work/cache-4" -name '.strata-*' | wc -l)" 0

# --prune keeps the layers of the images that are named, and files that are no layers.
other=$(build '(buildImage { name = "other"; tag = "t"; maxLayers = 2; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; })')
"$strata" copy --quiet "$other" "erofs-cache:$work/cache-1" >/dev/null
touch "$work/cache-1/sha256/README"
"$strata" copy --quiet "$other" "erofs-cache:$work/cache-1" --prune --keep "$image" >/dev/null
sha256sum --quiet --check "$work/sums" || fail "a layer of an image that is kept is removed"
"$strata" copy "$other" "erofs-cache:$work/cache-1" --prune >/dev/null 2>"$work/log"
grep -q ', 0 written (0 B), [1-9][0-9]* of other images removed$' "$work/log" || { cat "$work/log"; fail "nothing is removed"; }
same "$(files "$work/cache-1" | wc -l)" "$(jq '[.layers[].diff_ids] | unique | length' "$other")"
[[ -e $work/cache-1/sha256/README ]] || fail "a file that is no layer is removed"

# Random layers.
python3 "$trees" make "$seed" "$count" "$work/images"
for ((number = 0; number < count; number++)); do
  "$strata" copy --quiet "$work/images/$number.tar" "erofs-cache:$work/random" >/dev/null
  layer=$(files "$work/random")
  mounted "$layer" python3 "$trees" compare "$work/images/$number.json" "$work/mounted" >"$work/compared" ||
    { cat "$work/compared"; fail "layer $number (seed $seed)"; }
  fsck.erofs "$layer" >"$work/fsck" 2>&1 || { cat "$work/fsck"; fail "fsck.erofs of layer $number (seed $seed)"; }
  rm -r "$work/random"
done
echo "$count random layers"

# Stacks: overlayfs shows what exportImage makes of the layers, which overlay.sh compares with engines.
mkdir "$work/stacks" "$work/stack" "$work/merged"
python3 "$root/tests/image/random_layers.py" make "$seed" 8 "$work/stacks"
expressions=$(printf "(dockerTools.exportImage { fromImage = $work/stacks/%s.tar; }) " {0..7})
mapfile -t exported < <(build "[ $expressions ]")
for number in {0..7}; do
  "$strata" copy --quiet "$work/stacks/$number.tar" "erofs-cache:$work/random" >/dev/null
  lower=
  mapfile -t diff_ids < <("$strata" inspect --config "$work/stacks/$number.tar" | jq -r '.rootfs.diff_ids[]')
  for at in "${!diff_ids[@]}"; do
    mkdir -p "$work/stack/$at"
    mount -t erofs -o ro "$(file "$work/random" "${diff_ids[at]}")" "$work/stack/$at"
    lower=$work/stack/$at${lower:+:$lower}
  done
  mount -t overlay overlay -o "ro,lowerdir=$lower" "$work/merged"
  python3 "$root/tests/image/random_layers.py" tree "$work/stacks/$number.json" "$work/merged" >"$work/found"
  python3 "$root/tests/image/random_layers.py" tree "$work/stacks/$number.json" "${exported[number]}" >"$work/expected"
  umount "$work/merged" "$work/stack"/*
  # The next stack may have fewer layers.
  rmdir "$work/stack"/*
  diff -u "$work/expected" "$work/found" || fail "overlayfs makes another tree of stack $number (seed $seed)"
done

# On btrfs, bigger files share their blocks with the store.
need_command mkfs.btrfs
truncate -s 1G "$work/disk"
mkfs.btrfs -q "$work/disk"
mkdir "$work/btrfs"
if ! mount -o loop "$work/disk" "$work/btrfs" 2>"$work/error"; then
  skip_part "blocks are shared on btrfs only, which cannot be mounted here: $(<"$work/error")"
  exit 0
fi
trap 'umount -q "$work/btrfs" || true' EXIT
mkdir -p "$work/btrfs/nix/store"
nix-store -qR "$image" | xargs cp -a -t "$work/btrfs/nix/store"
sync --file-system "$work/btrfs"
unshare --mount bash -euc 'mount --bind "$1/nix" /nix && "$2" copy --quiet "$3" erofs-cache:/nix/cache >/dev/null' \
  bash "$work/btrfs" "$strata" "$image"
(cd "$work/btrfs/nix/cache" && find . -name '*.erofs' -print0 | sort -z | xargs -0 sha256sum) >"$work/shared"
(cd "$work/cache-2" && find . -name '*.erofs' -print0 | sort -z | xargs -0 sha256sum) >"$work/copied"
diff "$work/copied" "$work/shared" || fail "blocks that are shared make other images"
sync --file-system "$work/btrfs"
read -r total own < <(btrfs filesystem du --raw -s "$work/btrfs/nix/cache" | awk 'NR == 2 { print $1, $2 }')
echo "of $total bytes of the cache, $own are its own"
((own * 2 < total)) || fail "the cache shares no blocks with the store"
