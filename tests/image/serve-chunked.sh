# strata serve --chunked: uncompressed layers as zstd:chunked. Only the requested parts are made.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_command jq
need_command curl
export XDG_CACHE_HOME=$work/cache

image=$(build '(buildImage { name = "chunked"; tag = "t"; maxLayers = 8; config.Cmd = [ "${pkgs.python3}/bin/python3" "-c" "print(6 * 7)" ]; })')
"$strata" copy --quiet "$image" "oci:$work/plain:t" >/dev/null
python3 "$root/tests/peers/rebuild.py" "$work/plain" "$work/rebuilt" >/dev/null

stop() { kill -TERM "$server" 2>/dev/null || return 0; wait "$server"; }
trap stop EXIT
start_server --chunked "app:store=$image" "app:layout=oci:$work/plain" "app:rebuilt=oci:$work/rebuilt"

# The blobs are those of a push, from the store and from a layout.
for tag in store layout; do
  curl --silent --fail "http://$host/v2/app/manifests/$tag" >"$work/manifest-$tag"
done
same "$(jq -c .layers "$work/manifest-layout")" "$(jq -c .layers "$work/manifest-store")"
status=0
"$strata" diff --json --compression zstd:chunked "docker://$host/app:store" "$image" --tls-verify=false >"$work/diff" || status=$?
same "$(jq -c .push.blobs "$work/diff")" 0

# Whole layers and all kinds of ranges have the same bytes. A small range reads few bytes.
cat >"$work/parts.py" <<'PYTHON'
import hashlib, http.client, json, random, re, sys

host, pid, *manifests = sys.argv[1:]
layers = {layer["digest"]: layer for path in manifests for layer in json.load(open(path))["layers"]}
random.seed(18)


def get(digest, ranges=None):
    connection = http.client.HTTPConnection(host)
    text = {"Range": "bytes=" + ",".join(f"{first}-{last - 1}" for first, last in ranges)} if ranges else {}
    connection.request("GET", f"/v2/app/blobs/{digest}", headers=text)
    response = connection.getresponse()
    body = response.read()
    assert response.status == (206 if ranges else 200), response.status
    found = re.fullmatch("multipart/byteranges; boundary=(.*)", response.headers["Content-Type"])
    if not found:
        return [body]
    parts = body.split(b"\r\n--" + found[1].encode())[1:-1]
    return [part.split(b"\r\n\r\n", 1)[1] for part in parts]


def read_by_server():
    return int(re.search(r"rchar: (\d+)", open(f"/proc/{pid}/io").read())[1])


for digest, layer in layers.items():
    (whole,) = get(digest)
    assert "sha256:" + hashlib.sha256(whole).hexdigest() == digest
    size = len(whole)
    at = int(layer["annotations"]["io.github.containers.zstd-chunked.manifest-position"].split(":")[0])
    sets = [[(0, 1)], [(size - 1, size)], [(at - 9, at + 9)], [(0, 10), (size // 2, size // 2 + 1), (size - 100, size)]]
    for count in (1, 3, 20):
        points = sorted(random.sample(range(size), min(2 * count, size // 2 * 2)))
        points = [(first, last) for first, last in zip(points[::2], points[1::2])]
        sets.append([(first, min(last, first + 5000)) for first, last in points])
    # Adjacent ranges are sent as one.
    for ranges in sets:
        before = read_by_server()
        got = get(digest, ranges)
        assert got == [whole[first:last] for first, last in ranges], (digest, ranges)
    before = read_by_server()
    get(digest, [(size // 2, size // 2 + 1)])
    read = read_by_server() - before
    # A chunk has at most 2 MiB, and is read in pieces of 128 KiB.
    assert read < 3_000_000, f"{read} bytes read for one of {size}"
    before = read_by_server()
    get(digest, [(at, size)])
    read = read_by_server() - before
    assert read < 100_000, f"{read} bytes read for the table"
print(len(layers), "layers,", max(layer["size"] for layer in layers.values()), "bytes the biggest")
PYTHON
python3 "$work/parts.py" "$host" "$server" "$work/manifest-store" "$work/manifest-layout"

# The positions of all parts are cached, so the second request compresses nothing.
count=$(find "$XDG_CACHE_HOME/strata/chunked" -name '*.json' | wc -l)
((count >= $(jq '.layers | length' "$work/manifest-store"))) || fail "the cache has $count tables of contents"
stop
start_server --chunked "app:store=$image"
read=$(sed -n 's/^rchar: //p' "/proc/$server/io")
((read < 10000000)) || fail "serve reads $read bytes of layers that it knows"
# A changed store path breaks the response. Read-only paths are taken as unchanged.
stop
python3 - "$XDG_CACHE_HOME" <<'PYTHON'
import base64, json, pathlib, sys

for path in pathlib.Path(sys.argv[1]).glob("strata/chunked/*/*.json"):
    known = json.loads(path.read_text())
    frames = bytearray(base64.b64decode(known["map"]["frames"]))
    frames[4] ^= 1
    frames[20] ^= 1
    known["map"]["frames"] = base64.b64encode(frames).decode()
    path.write_text(json.dumps(known))
PYTHON
start_server --chunked "app:store=$image"
digest=$(jq -r '.layers | max_by(.size).digest' "$work/manifest-store")
curl --silent "http://$host/v2/app/blobs/$digest" -H 'Range: bytes=0-9' >"$work/part" && fail "a wrong map is trusted"
stop
rm -r "$XDG_CACHE_HOME/strata/chunked"

if ((EUID != 0)); then
  skip_part "podman's partial pulls need root here"
  exit
fi
start_server --chunked "app:store=$image" "app:rebuilt=oci:$work/rebuilt" "app:layout=oci:$work/plain"
start_counter "${host#*:}"
trap 'kill $counter; stop' EXIT
use_podman "$work/podman"
printf '[storage.options]\npull_options = {enable_partial_images = "true", use_hard_links = "false", ostree_repos=""}\n' >>"$CONTAINERS_STORAGE_CONF"
podman pull --quiet --tls-verify=false "$counted/app:rebuilt" >/dev/null
whole=$(received)
before=$(sed -n 's/^rchar: //p' "/proc/$server/io")
podman pull --quiet --tls-verify=false "$counted/app:store" >/dev/null
part=$(($(received) - whole))
read=$(($(sed -n 's/^rchar: //p' "/proc/$server/io") - before))
echo "$(podman --version): $whole bytes, and $part after a mass rebuild, for which serve read $read"
((part * 5 < whole)) || fail "podman pulled $part of $whole bytes after a rebuild"
podman run --rm --network none "$counted/app:store" >"$work/messages"
same "$(<"$work/messages")" 42
podman rmi --all --force >/dev/null
