# Instruction counts of the hot paths: a change of more than 3 % from tests/golden/instructions.txt is a failure. Callgrind
# counts the instructions of one thread, so that neither the machine's speed nor its load matters. After an intended change,
# STRATA_BLESS=1 dev/test image/instructions writes the counts anew; the reason belongs to the commit.
. "$root/tests/lib.sh"
need_command valgrind
need_command jq
golden=$root/tests/golden/instructions.txt
version=$(rustc --version | cut -d ' ' -f 2)

[[ $(uname -m) == x86_64 ]] || skip "counts are those of x86_64"
[[ $strata == */release/strata ]] || skip "counts are those of the release profile"
# Valgrind hides the extensions of the processor that it does not emulate. The counted code selects its loops by these.
grep -qw avx2 /proc/cpuinfo || skip "counts are those of processors with AVX2"
[[ ${STRATA_BLESS-} || $(head -n 1 "$golden") == "rustc $version" ]] ||
  skip "counts are those of $(head -n 1 "$golden"), and this is rustc $version"

# 40 store paths with 1,000 files and 8 MiB: text that compresses well, and noise that does not.
python3 - "$work/paths" <<'PYTHON'
import pathlib, random, sys

source = random.Random(1)
for package in range(40):
    directory = pathlib.Path(sys.argv[1], f"package-{package}")
    for number in range(25):
        file = directory / f"share/{number % 5}/file-{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        size = source.randrange(1000, 16000)
        if number % 2:
            file.write_bytes(source.randbytes(size))
        else:
            file.write_text("".join(f"{source.choice(['entry', 'value', 'path', 'digest'])} {source.getrandbits(16)}\n" for _ in range(size // 12)))
PYTHON
mapfile -t paths < <(for path in "$work/paths"/*; do nix-store --add "$path"; done)
((${#paths[@]} == 40)) || fail "40 store paths: ${paths[*]}"
# image PATHS…: an image with these store paths in ten layers.
image() {
  build "(buildImage { name = \"counts\"; tag = \"t\"; layers = [ (buildLayer { maxLayers = 10; deps = map builtins.storePath [ $* ]; }) ]; })"
}
image=$(image "${paths[@]}")
smaller=$(image "${paths[@]:0:30}")
nix copy --no-check-sigs --to "file://$work/cache?compression=none" "$image" 2>"$work/log"
cp "$image" "$work/image.json"
# 5,000 store paths, of which each references up to eight others.
python3 - "$work/closure.json" <<'PYTHON'
import json, sys

path = lambda at: f"/nix/store/{at:032}-path-{at}"
nodes = [{"path": path(at), "narSize": 1000 + at % 997 * 1000, "narHash": "sha256:" + f"{at:064}",
          "references": [path(at - step * step) for step in range(1, 9) if at >= step * step]} for at in range(5000)]
json.dump(nodes, open(sys.argv[1], "w"))
PYTHON

# count NAME COMMAND…: appends the number of instructions of the command to the counts, with its name. The command ends with
# the exit code $expected.
expected=0
counts=$work/counts
echo "rustc $version" >"$counts"
count() {
  local name=$1 out=$work/callgrind status=0
  shift
  # With MALLOC_MMAP_THRESHOLD_, `strata copy` does not start itself again, which valgrind would not follow.
  "${enter[@]}" env STRATA_JOBS=1 MALLOC_MMAP_THRESHOLD_=1000000 XDG_CACHE_HOME="$work/no-cache" \
    valgrind --tool=callgrind --callgrind-out-file="$out" -- "$@" >"$work/out" 2>"$work/log" || status=$?
  ((status == expected)) || { cat "$work/log"; fail "$name: exit code $status of $*"; }
  sed -n "s/^summary: \([0-9]*\).*/$name \1/p" "$out" | tee -a "$counts"
  rm -rf "$work/no-cache" "$work/copy" "$out"
}
enter=()
count tar "$strata" stream "$image"
count digests "$strata" verify "$image"
count plan "$strata" plan "$work/closure.json" --strategy transfer --json
expected=1
count diff "$strata" diff "$smaller" "$image" --compression none --json
# The changed layers are compressed, as for a push.
for compression in gzip zstd zstd:chunked; do
  count "$compression" "$strata" diff "$smaller" "$image" --compression "$compression" --json
done
expected=0
count sbom "$strata" sbom "$image"
# The store is empty, so that the layers are made from the NARs of the cache.
mkdir "$work/empty"
enter=(unshare --mount --propagation private)
((EUID == 0)) || enter+=(--user --map-root-user)
enter+=(bash -c 'mount --bind "$0" /nix/store; exec "$@"' "$work/empty")
count nar "$strata" copy "$work/image.json" "oci:$work/copy" --substituter "file://$work/cache" --compression none --quiet

if [[ ${STRATA_BLESS-} ]]; then
  cp "$counts" "$golden"
  exit
fi
awk -v limit=3 '
  FNR == 1 { file++; next }
  file == 1 { expected[$1] = $2; next }
  { seen[$1] = 1; change = expected[$1] ? 100 * ($2 / expected[$1] - 1) : 100
    if (change > limit || change < -limit) { printf "%s: %d instructions instead of %d (%+.1f %%)\n", $1, $2, expected[$1], change; failed = 1 } }
  END { for (name in expected) if (!seen[name]) { print name ": not counted"; failed = 1 }; exit failed }' \
  "$golden" "$counts" || fail "other counts than in tests/golden/instructions.txt; if the change is intended, run STRATA_BLESS=1 dev/test image/instructions"
