# zstd:chunked layers are ordinary zstd for engines that do not read the table of contents: Docker 29, containerd 2 and
# skopeo pull and run them with the same diff_ids. strata verify checks the tables of contents.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_command jq
need_engines
export XDG_CACHE_HOME=$work/cache
trap stop_engines EXIT

image=$(build 'buildImage { name = "chunked"; tag = "t"; maxLayers = 3; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
diff_ids=$(jq -c '[.layers[].diff_ids]' "$image")

export PATH=$engines:$PATH
inside() { nsenter --target "$(pgrep -P "$engine_pid")" --net "$@"; }
# serve_in_engine: serves in the engine's network, since the engine has its own.
serve_in_engine() {
  rm -f "$work/references"
  nsenter --target "$(pgrep -P "$engine_pid")" --net "$strata" serve --chunked --listen 127.0.0.1:5018 "$image" \
    >"$work/references" 2>"$work/serve.log" &
  server=$!
  wait_for "$server" test -s "$work/references" || { cat "$work/serve.log"; fail "serve ends"; }
}
stop_serving() { kill -TERM "$server"; wait "$server" || fail "serve ends with an error"; }

start_docker29 "$work/docker29" || fail "docker29 does not start"
serve_in_engine
docker pull --quiet 127.0.0.1:5018/chunked:t >/dev/null
same "$(run 127.0.0.1:5018/chunked:t)" "Hello, world!"
same "$(docker image inspect 127.0.0.1:5018/chunked:t | jq -c '.[0].RootFS.Layers')" "$diff_ids"

# The same blobs in a layout: verify checks their tables of contents, and reports a wrong one.
inside skopeo copy --quiet --src-tls-verify=false \
  docker://127.0.0.1:5018/chunked:t "oci:$work/layout:t"
"$strata" verify "$work/layout" | grep -q ' 0 problems$' || fail "verify finds problems in chunked layers"
stop_serving
python3 - "$work/layout" <<'PYTHON'
import hashlib, json, pathlib, sys

layout = pathlib.Path(sys.argv[1])
blob = lambda digest: layout / "blobs" / digest.replace(":", "/")
index = json.loads((layout / "index.json").read_text())
manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
key = "io.github.containers.zstd-chunked.tarsplit-position"
annotations = manifest["layers"][0]["annotations"]
offset, length, plain = map(int, annotations[key].split(":"))
annotations[key] = f"{offset}:{length}:{plain + 1}"
text = json.dumps(manifest).encode()
digest = "sha256:" + hashlib.sha256(text).hexdigest()
blob(digest).write_bytes(text)
index["manifests"][0].update(digest=digest, size=len(text))
(layout / "index.json").write_text(json.dumps(index))
PYTHON
"$strata" verify "$work/layout" >"$work/verified" 2>&1 && fail "verify accepts a wrong position"
grep -q "table of contents: tar-split's data does not have" "$work/verified" || { cat "$work/verified"; fail "verify does not report the wrong table of contents"; }
stop_engine

start_containerd "$work/containerd" || fail "containerd does not start"
serve_in_engine
ctr images pull --plain-http 127.0.0.1:5018/chunked:t >"$work/log" 2>&1 || { cat "$work/log"; fail "containerd does not pull it"; }
same "$(run_with_ctr 127.0.0.1:5018/chunked:t "chunked$RANDOM")" "Hello, world!"
config=$(ctr content get "$(inside curl --silent http://127.0.0.1:5018/v2/chunked/manifests/t | jq -r .config.digest)")
same "$(jq -c .rootfs.diff_ids <<<"$config")" "$diff_ids"
stop_serving
