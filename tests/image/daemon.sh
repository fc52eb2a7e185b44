# strata copy into docker and podman: what they have is not sent.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
export XDG_CACHE_HOME=$work/cache
first=$(greeter loaded:t one)
second=$(greeter loaded:t two)

if [[ ${docker-} ]]; then
  "$strata" copy "$first" docker-daemon: 2>"$work/log" >/dev/null || { cat "$work/log"; fail "copy to docker"; }
  same "$(run loaded:t)" one
  grep -q '^0 of ' "$work/log" || { cat "$work/log"; fail "layers are said to be there"; }
  whole=$(sed -n 's/.*were there, \([0-9]*\) bytes streamed/\1/p' "$work/log")
  "$strata" copy "$second" docker-daemon:renamed:u --json 2>"$work/log" >"$work/id"
  same "$(run renamed:u)" two
  same "$(docker inspect --format '{{.Id}}' renamed:u)" "$(<"$work/id")"
  # Everything but the layer of the script was there: less than 64 KiB are streamed.
  layers=$(jq '.layers | length' "$second")
  same "$(jq .layersThere "$work/log")" "$((layers - 1))"
  (($(jq .bytes "$work/log") < 65536 && whole > 1000000)) || { cat "$work/log"; fail "$whole bytes, then too many"; }
  # The same again is documents alone, and a new name.
  "$strata" copy "$second" docker-daemon:again 2>"$work/log" >/dev/null
  grep -q "^$layers of $layers layers were there" "$work/log" || { cat "$work/log"; fail "layers are not there"; }
  same "$(run again:latest)" two
  program=$(build 'let image = buildImage { name = "by-program"; tag = "t"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; };
    in image.copyToDockerDaemon')
  "$program/bin/copy-to-docker-daemon" --quiet >/dev/null
  same "$(run by-program:t)" "Hello, world!"
  # An archive and a layout load as well.
  "$strata" copy "$first" "oci-archive:$work/archive.tar:some:name" >/dev/null
  "$strata" copy "$work/archive.tar" docker-daemon: --quiet >/dev/null
  same "$(run some:name)" one
  docker rmi loaded:t renamed:u again by-program:t some:name >/dev/null
  # A daemon that refuses an archive with layers left out gets a whole one, and is remembered.
  cat >"$work/daemon.py" <<'PYTHON'
import http.server, json, os, sys
layers = json.load(open(sys.argv[2]))["layers"]
class Daemon(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, text):
        self.send_response(200); self.send_header("content-length", str(len(text))); self.end_headers(); self.wfile.write(text.encode())
    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/info": self.answer('{"ServerVersion":"1","Driver":"x","DriverStatus":null}')
        elif path == "/images/json": self.answer('[{"Id":"a"}]')
        else: self.answer(json.dumps({"RootFS": {"Layers": [layers[0]["diff_ids"]]}}))
    def do_POST(self):
        size = 0
        while True:
            length = int(self.rfile.readline(), 16)
            self.rfile.read(length); self.rfile.readline()
            size += length
            if length == 0: break
        print(size, file=open(sys.argv[3], "a"), flush=True)
        self.answer('{"stream":"Loaded image: x"}' if size > 1000000 else '{"error":"layer missing"}')
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Daemon)
print(server.server_port, file=open(sys.argv[1], "w"), flush=True)
server.serve_forever()
PYTHON
  small=$(build 'buildImage { name = "small"; tag = "t"; layers = [ (buildLayer { deps = [ pkgs.glibc ]; }) ]; config.Env = [ "A=1" ]; }')
  python3 "$work/daemon.py" "$work/port" "$small" "$work/sizes" &
  daemon=$!
  trap 'kill "$daemon"' EXIT
  wait_for "$daemon" test -s "$work/port" || fail "the daemon ends"
  DOCKER_HOST=tcp://127.0.0.1:$(<"$work/port") "$strata" copy "$small" docker-daemon: 2>"$work/log" >/dev/null || { cat "$work/log"; fail "fallback"; }
  grep -q 'all layers are sent: layer missing' "$work/log" || { cat "$work/log"; fail "why is not said"; }
  DOCKER_HOST=tcp://127.0.0.1:$(<"$work/port") "$strata" copy "$small" docker-daemon: 2>"$work/log" >/dev/null
  same "$(wc -l <"$work/sizes")" 3
fi
DOCKER_HOST=unix://$work/nothing "$strata" copy "$first" docker-daemon: 2>"$work/log" && fail "there is no daemon"
grep -q "at unix://$work/nothing; is the daemon running?" "$work/log" || { cat "$work/log"; fail "the socket is not named"; }

if command -v podman >/dev/null; then
  cat >"$work/storage.conf" <<CONF
[storage]
driver = "vfs"
graphroot = "$work/containers"
runroot = "$work/run"
CONF
  printf '[containers]\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n[engine]\nruntime="runc"\n' >"$work/containers.conf"
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
  "$strata" copy "$first" containers-storage: >"$work/id" 2>"$work/log" || { cat "$work/log"; fail "copy to podman"; }
  same "$(podman run --rm --network none loaded:t)" one
  same "sha256:$(podman inspect --format '{{.Id}}' loaded:t)" "$(<"$work/id")"
  "$strata" copy "$second" containers-storage:other/name >/dev/null
  same "$(podman run --rm --network none other/name:latest)" two
  same "$(podman images --format '{{.Repository}}:{{.Tag}}' | sort | tr '\n' ' ')" "localhost/loaded:t localhost/other/name:latest "
  podman rmi --all --force >/dev/null
fi
