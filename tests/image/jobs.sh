# Jobs: the number of threads that compress is that of --jobs, STRATA_JOBS, the affinity mask or the CPU limit of the cgroup;
# and the memory of a push stays within the formula of docs/limits.md for each compression.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq

# Four uncompressed layers of 96 MiB, half of them text that compresses well, half of them noise that does not: no buffer is
# as large as a layer.
python3 - "$work/layout" <<'PYTHON'
import hashlib, io, json, os, random, sys, tarfile

layout = sys.argv[1]
os.makedirs(f"{layout}/blobs/sha256")
source = random.Random(1)
noise = source.randbytes(4 << 20)
text = "".join(f"{source.choice(['entry', 'value', 'path', 'digest'])} {source.getrandbits(24)}\n" for _ in range(300000)).encode()[: 4 << 20]


def blob(data):
    digest = hashlib.sha256(data).hexdigest()
    with open(f"{layout}/blobs/sha256/{digest}", "wb") as file:
        file.write(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


layers = []
for number in range(4):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for part in range(12):
            entry = tarfile.TarInfo(f"layer-{number}/part-{part}")
            entry.size = 8 << 20
            # Parts are as far from each other as no compressor looks back.
            archive.addfile(entry, io.BytesIO(noise[part:] + text + noise[:part]))
    layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar", **blob(out.getvalue())})
config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}}
manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": layers,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **blob(json.dumps(config).encode())}}
index = {"schemaVersion": 2, "manifests": [{"mediaType": manifest["mediaType"], **blob(json.dumps(manifest).encode())}]}
json.dump(index, open(f"{layout}/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(f"{layout}/oci-layout", "w"))
PYTHON

# peak COMMAND…: its peak memory in KiB.
peak() {
  python3 -c '
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@"
}

# The formula, and that neither the number of jobs nor the way in which memory is shared moves a digest.
trap 'stop_registry' EXIT
for compression in gzip zstd zstd:chunked; do
  digests=()
  for jobs in 1 2 16 64; do
    start_registry "$work/registry"
    used=$(XDG_CACHE_HOME=$work/cache-$compression-$jobs STRATA_JOBS=$jobs peak "$strata" copy --quiet "oci:$work/layout" \
      "docker://$registry/jobs:1" --compression "$compression") || fail "a push with $jobs jobs"
    digests+=("$("$strata" manifest "$registry/jobs:1" | sha256sum)")
    stop_registry
    rm -rf "$work/registry"
    limit=$((96 + 6 * jobs))
    echo "$compression, $jobs jobs: $((used / 1024)) MiB of $limit MiB"
    ((used <= limit * 1024)) || fail "$compression with $jobs jobs takes $((used / 1024)) MiB, more than $limit MiB"
  done
  same "$(printf '%s\n' "${digests[@]}" | sort -u | wc -l)" 1
done

# threads COMMAND…: how many threads compress once an upload has begun. All of them are started before the first one works.
threads() {
  local port server pusher count
  port=$(free_port)
  rm -f "$work/begun"
  python3 "$root/tests/image/silent_registry.py" "$port" "$work/begun" &
  server=$!
  wait_for_port "$server" "$port"
  "$@" copy --quiet "oci:$work/layout" "docker://127.0.0.1:$port/threads:1" >/dev/null 2>"$work/log" &
  pusher=$!
  wait_for "$pusher" test -e "$work/begun" || { cat "$work/log" >&2; fail "the push ended"; }
  count=$(cat "/proc/$pusher"/task/*/comm | grep -c '^strata-compress$') || true
  # Freed buffers are returned to the kernel. The layers above are too few for the memory to show it.
  tr '\0' '\n' <"/proc/$pusher/environ" | grep -qx 'MALLOC_MMAP_THRESHOLD_=1000000' || count="no fixed threshold"
  kill "$pusher" "$server"
  wait "$pusher" "$server" 2>/dev/null || true
  echo "$count"
}
same "$(threads "$strata" --jobs 3)" 3
same "$(STRATA_JOBS=5 threads "$strata")" 5
same "$(STRATA_JOBS=5 threads "$strata" --jobs 3)" 3
same "$(threads taskset -c "$(taskset -pc $$ | sed 's/.*: *\([0-9]*\).*/\1/')" "$strata")" 1
# nproc does not know the limits of cgroups.
count=$(threads "$strata")
((count >= 1 && count <= $(nproc))) || fail "$count threads for $(nproc) processors"

# A cgroup that grants the time of one processor. A function would run in a shell of its own, whose threads would be counted.
limited=(sh -euc 'echo $$ >"$0/cgroup.procs"; exec "$@"')
group=
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/cpu; do
  group=$hierarchy/strata-jobs-$$
  mkdir "$group" 2>/dev/null || continue
  if [[ -w $group/cpu.max ]]; then
    echo "100000 100000" >"$group/cpu.max"
    break
  elif [[ -w $group/cpu.cfs_quota_us ]]; then
    cat "$group/cpu.cfs_period_us" >"$group/cpu.cfs_quota_us"
    break
  fi
  rmdir "$group"
  group=
done
if [[ $group && -d $group ]]; then
  same "$(threads "${limited[@]}" "$group" "$strata")" 1
  rmdir "$group"
else
  skip_part "no cgroup with a CPU limit can be made"
fi

for wrong in 0 x 1025; do
  if STRATA_JOBS=$wrong "$strata" inspect "oci:$work/layout" >"$work/out" 2>"$work/log"; then fail "STRATA_JOBS=$wrong"; fi
  grep -q "STRATA_JOBS: \"$wrong\" is not a number of jobs; write a number from 1 to 1024" "$work/log" || { cat "$work/log"; fail "no reason"; }
done
