# checkImage and strata check: container-structure-test's files and services, without an engine, in Nix's sandbox and
# outside of it.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
need_command python3

# log_has TEXT…: expects each TEXT in the log of the last build.
log_has() {
  local text
  for text in "$@"; do grep -qF -- "$text" "$work/log" || { cat "$work/log"; fail "the log lacks: $text"; }; done
}

# Results of tests that passed are cached by Nix. The salt avoids those of earlier runs of this script.
nonce=$(date +%s%N)

web='let
  page = pkgs.writeTextDir "www/index.html" "Welcome";
  conf = pkgs.writeText "nginx.conf" "
    daemon off; error_log /dev/stderr info; pid /tmp/nginx.pid;
    events { }
    http {
      access_log /dev/stdout; client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
      uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
      server { listen 80; root ${page}/www; }
    }";
  directories = pkgs.runCommand "directories" { } "mkdir -p $out/tmp $out/var/log/nginx $out/var/lib/nginx";
  image = buildImage {
    name = "web"; tag = "t";
    copyToRoot = [ directories (dockerTools.fakeNss.override { extraPasswdLines = [ "web:x:33:33::/:/bin/sh" ]; extraGroupLines = [ "web:x:33:" ]; }) ];
    perms = [ { path = directories; regex = ".*/tmp$"; mode = "1777"; } ];
    config = {
      Cmd = [ "${pkgs.nginx}/bin/nginx" "-c" "${conf}" ];
      User = "web"; ExposedPorts."80/tcp" = { }; StopSignal = "SIGQUIT"; Env = [ "PATH=${pkgs.coreutils}/bin:${pkgs.bash}/bin" ];
    };
  };
in '
structure='{
  schemaVersion = "2.0.0";
  commandTests = [ { name = "whoami"; command = "id"; args = [ "-u" ]; expectedOutput = [ "^33\n$" ]; } ];
  fileExistenceTests = [ { name = "tmp"; path = "/tmp"; permissions = "dtrwxrwxrwx"; uid = 0; } ];
  fileContentTests = [ { name = "users"; path = "/etc/passwd"; expectedContents = [ "(?m)^web:" ]; } ];
  metadataTest = { user = "web"; exposedPorts = [ "80" ]; };
}'
script='packages = [ pkgs.busybox ]; script = "busybox wget -q -O - http://127.0.0.1/ | grep Welcome";'

# Files, configuration, commands, and a running service, which listens on a port below 1024 as a user other than root.
check_web() {
  build "$web checkImage { name = \"web-$1-$nonce\"; inherit image; structure = $structure; service = { ready.http = \"/\"; $script }; }" >/dev/null
  log_has "ok   Command Test: whoami" "ok   File Existence Test: tmp" "ok   File Content Test: users" "ok   Metadata Test" \
    "script | Welcome" "ok   Service: service" "ok   Script: service" "6 tests: 6 passed, 0 failed"
}
check_web first
# The result is cached.
build "$web checkImage { name = \"web-first-$nonce\"; inherit image; structure = $structure; service = { ready.http = \"/\"; $script }; }" >/dev/null
! grep -q building "$work/log" || fail "a check that passed runs again"

# Every kind of image: archives, streams, layouts of other tools.
small='command = "hello"; commandTest = { schemaVersion = "2.0.0"; commandTests = [ { name = "greets"; command = "${pkgs.hello}/bin/hello"; expectedOutput = [ "Hello, world!" ]; } ]; };'
for image in \
  'makeContainerImage { name = "a"; layers = [ pkgs.hello ]; }' \
  'dockerTools.buildImage { name = "b"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }' \
  'dockerTools.streamLayeredImage { name = "c"; contents = [ pkgs.hello ]; }' \
  'buildImage { name = "d"; fromImage = makeContainerImage { name = "e"; layers = [ pkgs.hello ]; }; }' \
  'let archive = makeContainerImage { name = "f"; layers = [ pkgs.hello ]; }; in "${archive}"'; do
  build "let $small in checkImage { image = $image; structure = commandTest; }" >/dev/null
done
# Files that runAsRoot wrote.
build 'checkImage {
  image = dockerTools.buildImage { name = "root"; copyToRoot = [ pkgs.busybox ]; runAsRoot = "mkdir -p /data; echo made >/data/file; chmod 640 /data/file; ln -s /data/file /link"; };
  structure = {
    schemaVersion = "2.0.0";
    commandTests = [ { name = "reads"; command = "/bin/cat"; args = [ "/link" ]; expectedOutput = [ "^made\n$" ]; } ];
    fileExistenceTests = [ { name = "mode"; path = "/data/file"; permissions = "-rw-r-----"; uid = 0; gid = 0; } ];
  };
}' >/dev/null

# Failing tests and their messages.
failing() { build_fails "$@"; }
failing "$web checkImage { inherit image; structure = { schemaVersion = \"2.0.0\"; fileExistenceTests = [ { name = \"x\"; path = \"/tmp\"; permissions = \"drwxr-xr-x\"; uid = 7; } ]; metadataTest.user = \"root\"; }; }" \
  "FAIL File Existence Test: x" "permissions of /tmp are dtrwxrwxrwx, expected drwxr-xr-x" "owner of /tmp is 0, expected 7" \
  'user is "web", expected "root"' "2 of 2 tests failed"
failing "$web checkImage { inherit image; service = { ready.port = 80; script = \"echo here >&2; exit 3\"; }; }" \
  "FAIL Script: service" "it ended with status 3" "       here"
failing "$web checkImage { inherit image; service = { ready.port = 81; timeout = 1; }; }" \
  "FAIL Service: service" "it is not ready after 1 s: port 81 refuses connections"
failing "$web checkImage { inherit image; service = { ready.port = 80; command = [ \"nothing\" ]; }; }" "starting nothing: No such file"
failing "$web checkImage { inherit image; service = { ready.port = 80; command = [ \"\${pkgs.bash}/bin/bash\" \"-c\" \"echo last words; exit 4\" ]; }; }" \
  "the program ended with status 4 before it was ready" "last words"
failing "$web checkImage { inherit image; service = { ready.log = \"^up\"; stopTimeout = 1; command = [ \"\${pkgs.bash}/bin/bash\" \"-c\" \"trap : QUIT; echo up; while :; do sleep 0.1; done\" ]; }; }" \
  "it did not end within 1 s after SIGQUIT"
# The service ends after the script has connected.
failing 'let
  nc = "${pkgs.busybox}/bin/busybox nc";
  image = buildImage { name = "short"; config.Cmd = [ "${pkgs.busybox}/bin/busybox" "sh" "-c" "echo up; ${nc} -l -p 8000; exit 5" ]; };
in checkImage { inherit image; service = { ready.log = "^up"; packages = [ pkgs.busybox ]; script = "until busybox nc 127.0.0.1 8000 </dev/null; do busybox sleep 0.05; done; busybox sleep 600"; }; }' \
  "the program ended with status 5 while the script ran"
failing "$web checkImage { inherit image; structure = { schemaVersion = \"2.0.0\"; commandTests = [ { name = \"x\"; command = \"y\"; } ]; containerRunOptions.privileged = true; }; }" \
  "containerRunOptions.privileged: it needs an engine"
failing "$web checkImage { inherit image; structure = { schemaVersion = \"2.0.0\"; licenseTests = [ { debian = true; } ]; }; }" "licenseTests are not supported"
failing "$web checkImage { inherit image; service = { }; }" "needs ready.port, ready.http, ready.log or ready.exec"
failing "$web checkImage { inherit image; services.a = { ready.port = 1; after = [ \"b\" ]; }; }" "after names b"
failing "$web checkImage { inherit image; services = builtins.mapAttrs (_: after: { ready.port = 1; inherit after; }) { a = [ \"b\" ]; b = [ \"c\" ]; c = [ \"b\" ]; }; }" \
  "argument services of checkImage: after is circular, in c and b; remove one"
failing "$web checkImage { inherit image; services.a = { ready.port = 1; after = [ \"a\" ]; }; }" "argument services of checkImage: after is circular, in a; remove one"
failing "$web checkImage { inherit image; services.a = { image = pkgs.hello; ready.port = 1; }; }" "service a: argument image: /nix/store/"
failing "$web checkImage { inherit image; service = { ready.prot = 1; }; }" "has no attribute prot; it has exec, http, log, port"
failing "$web checkImage { inherit image; }" "there is nothing to check"

# Several services on one network with their names: a database, and its client.
pair='let
  python = "${pkgs.python3}/bin/python3";
  db = pkgs.writeText "db.py" "
import socket
server = socket.create_server((\"0.0.0.0\", 5432))
print(\"listening\", flush=True)
while True:
    peer, _ = server.accept()
    peer.sendall(b\"rows\")
    peer.close()
";
  app = pkgs.writeText "app.py" "
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        rows = socket.create_connection((\"db\", 5432)).recv(100)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b\"answer: \" + rows)
http.server.HTTPServer((\"0.0.0.0\", 8080), Handler).serve_forever()
";
  image = name: program: buildImage { inherit name; config = { Cmd = [ python "-u" "${program}" ]; StopSignal = "SIGINT"; }; };
in '
check_pair() {
  build "$pair checkImage {
    name = \"pair-$1-$nonce\";
    image = image \"app\" app;
    services = {
      app = { ready = { port = 8080; http = \"/\"; }; after = [ \"db\" ]; packages = [ pkgs.busybox ]; script = \"busybox wget -q -O - http://app:8080/ | grep 'answer: rows'\"; };
      db = { image = image \"db\" db; ready = { log = \"^listening\"; exec = [ python \"-c\" \"import socket; socket.create_connection(('localhost', 5432))\" ]; }; };
    };
  }" >/dev/null
  log_has "db | listening" "script | answer: rows" "ok   Service: db" "ok   Service: app" "ok   Script: app"
}
# A background job of a shell has SIGINT ignored; the programs in the containers have not.
(trap "" INT; check_pair first)

# nginx, postgres, and a small client of postgres.
database='let
  postgres = buildImage {
    name = "postgres";
    copyToRoot = [
      # initdb starts programs with this shell.
      dockerTools.binSh
      (pkgs.runCommand "data" { } "mkdir -p $out/tmp $out/var/lib/postgresql")
      (dockerTools.fakeNss.override { extraPasswdLines = [ "postgres:x:70:70::/var/lib/postgresql:/bin/sh" ]; })
    ];
    config = {
      Env = [ "PATH=${pkgs.postgresql}/bin:${pkgs.coreutils}/bin:${pkgs.bash}/bin" ];
      User = "postgres"; StopSignal = "SIGINT"; WorkingDir = "/var/lib/postgresql"; Volumes."/var/lib/postgresql/data" = { };
      Cmd = [ "${pkgs.writeShellScript "start" "
        set -eu
        initdb --pgdata data/db --auth trust --no-locale --encoding UTF8 --no-sync >/dev/null
        exec postgres -D data/db -c unix_socket_directories= -c fsync=off -c jit=off
      "}" ];
    };
  };
  client = buildImage {
    name = "client";
    config.StopSignal = "SIGKILL";
    config.Cmd = [ "${pkgs.writeShellScript "client" "
      set -eu
      ${pkgs.postgresql}/bin/psql --host db --username postgres --no-align --tuples-only --command \"select 6 * 7\" postgres
      echo asked
      exec ${pkgs.coreutils}/bin/sleep 1000
    "}" ];
  };
in '
check_database() {
  build "$web $database checkImage {
    name = \"database-$1-$nonce\";
    inherit image;
    services = {
      db = { image = postgres; ready.exec = [ \"pg_isready\" \"--host\" \"localhost\" ]; stopTimeout = 30; };
      app = { image = client; after = [ \"db\" ]; ready.log = \"^asked\"; };
      web = { ready.http = \"/\"; after = [ \"db\" ]; $script };
    };
  }" >/dev/null
  log_has "app | 42" "database system is shut down" "ok   Service: app" "ok   Service: db" "ok   Service: web" "ok   Script: web"
}
check_database first

# The same with a newer Nix.
if (use_new_nix); then
  for checked in check_web check_pair check_database; do (use_new_nix; "$checked" newer); done
else
  skip_part "Debian's other suites cannot be reached"
fi

# strata check outside of Nix: as root and as another user, with an image.json and an archive.
image=$(build "$web image")
printf '%s\n' 'schemaVersion: 2.0.0' 'commandTests:' '- {name: id, command: id, args: [-u], expectedOutput: ["^33\n$"]}' \
  '- {name: fails, command: "false"}' 'metadataTest: {user: web}' >"$work/tests.yaml"
status=0
"$strata" check "$image" "$work/tests.yaml" >"$work/out" || status=$?
same "$status" 1
grep -qx 'FAIL Command Test: fails' "$work/out" || { cat "$work/out"; fail "a test that fails is not shown"; }
"$strata" copy "$image" "docker-archive:$work/archive.tar:web:t" --quiet >/dev/null
status=0
"$strata" check "$work/archive.tar" "$work/tests.yaml" --json >"$work/json" || status=$?
same "$status" 1
same "$(jq -c '[.Pass, .Fail, .Total, .Results[1].Name, .Results[1].Errors]' "$work/json")" \
  '[2,1,3,"Command Test: fails",["exit status is 1, expected 0"]]'
# If the kernel refuses a new /proc, the /proc of the machine is not mounted instead.
masked() { mount -t tmpfs none /proc/sys/kernel && exec "$@"; }
export -f masked
if [[ $(id -u) = 0 ]]; then
  status=0
  unshare --mount --propagation private bash -c 'masked "$@"' bash "$strata" check "$image" "$work/tests.yaml" >"$work/out" 2>&1 ||
    status=$?
  [[ $status != 0 ]] && grep -q "strata check --engine ENGINE tests the image in an engine" "$work/out" ||
    { cat "$work/out"; fail "a container sees the processes of the machine"; }
fi
status=0
echo 'schemaVersion: 3' >"$work/bad.yaml"
"$strata" check "$image" "$work/bad.yaml" 2>"$work/log" || status=$?
same "$status" 2
log_has "schemaVersion is 3; only 2.0.0 is supported"
# Containers cannot change the store, although their user is root.
attack=$(build 'let
  victim = pkgs.writeTextDir "file" "text";
  script = pkgs.writeTextDir "attack.sh" "
    test -f ${victim}/file || echo no victim
    mount -o remount,bind,rw ${victim} 2>/dev/null && echo remounted
    umount ${victim} 2>/dev/null && echo unmounted
    chmod 777 ${victim} ${victim}/file 2>/dev/null && echo mode changed
    rm ${victim}/file 2>/dev/null && echo removed
    touch ${victim}/new 2>/dev/null && echo created
    (: >/dev/tty) 2>/dev/null && echo terminal
    id -u
  ";
in buildImage { name = "attack"; copyToRoot = [ script pkgs.busybox ]; config.Env = [ "PATH=/bin" ]; config.Labels.victim = "${victim}"; }')
printf '%s\n' 'schemaVersion: 2.0.0' 'commandTests:' \
  '- {name: attack, command: sh, args: [/attack.sh], expectedOutput: ["^0\n$"]}' >"$work/attack.yaml"
"$strata" check "$attack" "$work/attack.yaml" >"$work/out" || { cat "$work/out"; fail "a container changes the store"; }

# The C library runs a file without #! with /bin/sh. An engine does not start it.
scripts=$(build 'buildImage {
  name = "scripts"; tag = "t";
  copyToRoot = [ (pkgs.writeShellScriptBin "script" "exit 0") (pkgs.runCommand "plain" { } "mkdir -p $out/bin; echo exit 0 >$out/bin/plain; chmod +x $out/bin/plain") pkgs.busybox ];
  config.Env = [ "PATH=/bin" ];
}')
printf '%s\n' 'schemaVersion: 2.0.0' 'commandTests:' '- {name: script, command: script}' '- {name: plain, command: plain}' \
  '- {name: path, command: /bin/plain}' >"$work/scripts.yaml"
# check_scripts OPTION…
check_scripts() {
  status=0
  "$strata" check "$scripts" "$work/scripts.yaml" "$@" --json >"$work/json" 2>"$work/log" || status=$?
  same "$status $(jq -c '[.Results[].Pass]' "$work/json")" '1 [true,false,false]'
  (($(grep -c 'exec format error' "$work/json") == 2)) || { cat "$work/json"; fail "the reason is not given"; }
}
check_scripts

# If strata is killed, the container ends.
token=$((100000 + RANDOM))
printf '%s\n' 'schemaVersion: 2.0.0' 'commandTests:' "- {name: sleeps, command: sleep, args: [$token]}" >"$work/sleep.yaml"
mkdir "$work/tmp"
for signal in KILL TERM; do
  TMPDIR=$work/tmp "$strata" check "$attack" "$work/sleep.yaml" >/dev/null 2>&1 &
  pid=$!
  sleeps() { pgrep -f "^sleep $token\$" >/dev/null; }
  wait_for "$pid" sleeps
  kill -"$signal" "$pid"
  wait "$pid" || true
  ended() { ! sleeps; }
  wait_for $$ ended
done
# The next run removes files of the killed one.
TMPDIR=$work/tmp "$strata" check "$image" "$work/tests.yaml" >/dev/null || true
left=$(ls -A "$work/tmp")
[[ ! $left ]] || fail "temporary directories remain: $left"

# An engine gives the same results.
cat >"$work/engine.yaml" <<'YAML'
schemaVersion: 2.0.0
containerRunOptions: {user: root}
commandTests:
  - {name: user, command: id, args: [-u], envVars: [{key: A, value: b}], expectedOutput: ["^0\n$"]}
  - {name: setup, setup: [[touch, /tmp/made]], command: ls, args: [/tmp/made], expectedOutput: [made]}
  - {name: missing, command: nothing, exitCode: 127}
YAML
check_engine() {
  status=0
  "$strata" check "$image" "$work/engine.yaml" --engine "$engine" --json >"$work/json" 2>"$work/log" || status=$?
  [[ "$status $(jq -c '[.Results[].Pass]' "$work/json")" == '1 [true,true,false]' ]] || { cat "$work/json" "$work/log"; fail "$engine gives other results"; }
  nothing_left || fail "containers or images of the tests remain"
  check_scripts --engine "$engine"
  # A container that cannot be created fails its test alone.
  status=0
  "$strata" check "$image" "$work/refused.yaml" --engine "$engine" --json >"$work/json" 2>"$work/log" || status=$?
  [[ "$status $(jq -c '[.Results[] | [.Name, .Pass]]' "$work/json")" == '1 [["Command Test: refused",false],["Metadata Test",true]]' ]] ||
    { cat "$work/json" "$work/log"; fail "$engine: a refused container stops other tests"; }
  # Variables that the engine's client needs.
  HOME=$HOME STRATA_PASSED=passed "$strata" check "$image" "$work/passed.yaml" --engine "$engine" >"$work/out" 2>"$work/log" ||
    { cat "$work/out" "$work/log"; fail "$engine: variables of the client are lost"; }
  # If strata is terminated, the images between the commands of a test are removed as well.
  "$strata" check "$attack" "$work/steps.yaml" --engine "$engine" >"$work/out" 2>"$work/log" &
  pid=$!
  wait_for "$pid" is_sleeping
  kill -TERM "$pid"
  wait "$pid" || true
  wait_for $$ nothing_left
}
nothing_left() {
  local left
  left=$("$engine" ps --all --quiet && "$engine" images --quiet --filter dangling=true) && [[ ! $left ]]
}
is_sleeping() { pgrep -f "^sleep $token\$" >/dev/null; }
printf '%s\n' 'schemaVersion: 2.0.0' 'containerRunOptions: {capabilities: [NO_SUCH_CAPABILITY]}' 'commandTests:' \
  '- {name: refused, command: id}' 'metadataTest: {user: web}' >"$work/refused.yaml"
printf '%s\n' 'schemaVersion: 2.0.0' 'containerRunOptions: {user: root, envVars: [HOME, CONTAINERS_STORAGE_CONF, DOCKER_HOST, STRATA_PASSED]}' \
  'commandTests:' '- {name: passed, command: printenv, args: [STRATA_PASSED], expectedOutput: [passed], teardown: [[id], [id]]}' \
  >"$work/passed.yaml"
printf '%s\n' 'schemaVersion: 2.0.0' 'commandTests:' \
  "- {name: steps, setup: [[touch, /made], [touch, /more]], command: sleep, args: ['$token']}" >"$work/steps.yaml"
if [[ ${docker-} ]]; then
  engine=docker
  check_engine
fi
if command -v podman >/dev/null; then
  printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/containers" "$work/run" >"$work/storage.conf"
  printf '[containers]\nnetns="none"\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n[engine]\nruntime="runc"\n' >"$work/containers.conf"
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
  engine=podman
  check_engine
  # A container that does not start fails its tests, also those that expect the exit status 0.
  printf '#!/bin/sh\n[ "$1" != --version ] || exec runc "$@"\nexit 1\n' >"$work/broken"
  chmod +x "$work/broken"
  sed -i "s,runtime=.*,runtime=\"broken\"\n[engine.runtimes]\nbroken=[\"$work/broken\"]," "$work/containers.conf"
  printf '%s\n' 'schemaVersion: 2.0.0' 'commandTests:' '- {name: "true", command: "true"}' >"$work/true.yaml"
  status=0
  "$strata" check "$image" "$work/true.yaml" --engine podman --json >"$work/json" 2>"$work/log" || status=$?
  [[ "$status $(jq -c '[.Results[].Pass]' "$work/json")" == '1 [false]' ]] || { cat "$work/json" "$work/log"; fail "a container that does not start passes"; }
fi
