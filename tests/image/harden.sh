# explain --harden and check --harden: what makes a container easier to attack, each finding with the argument that fixes it.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
need_command python3

hardening() { "$strata" explain "$@" --harden --json >"$work/json"; }
# places_of CHECK: the places of its findings, without hashes of store paths.
places_of() { jq -r --arg check "$1" '.findings[] | select(.check == $check) | .place' "$work/json" | sed 's,/nix/store/[^-]*-,,' | sort | tr '\n' ' '; }
fixes_of() { jq -r --arg check "$1" '.findings[] | select(.check == $check) | .fix' "$work/json"; }

# An image that follows every hint.
good=$(build 'buildImage { name = "good"; tag = "1"; config = {
  Entrypoint = [ "${pkgs.hello}/bin/hello" ]; User = "1000:1000"; Healthcheck.Test = [ "CMD" "${pkgs.hello}/bin/hello" ]; }; }')
hardening "$good"
same "$(jq -c '[(.findings | length), (.passed | length)]' "$work/json")" '[0,15]'
"$strata" check "$good" --harden >"$work/out"
same "$(tail -n 1 "$work/out")" "15 tests: 15 passed, 0 failed"

# An image that fails all checks. Its tokens are put together here, so that no scanner of this repository finds them.
token=ghp_$(printf 'q7Zx2Lm9Kd4Rt8Wb3Yc6Vn5Hj1PsFgTaE0Uo')
bad=$(build 'let
    files = pkgs.runCommand "files" { } "mkdir -p $out/{bin,etc,srv,home/.git}
      cp ${pkgs.hello}/bin/hello $out/bin/setuid; cp ${pkgs.hello}/bin/hello $out/bin/setgid
      echo data > $out/srv/open; echo ref > $out/home/.git/HEAD
      printf '"'"'root::1::::::\nweb:!:::::::\n'"'"' > $out/etc/shadow
      printf '"'"'root:x:0:0::/:\nadmin:x:0:0::/:\nweb:x:33:33::/:\n'"'"' > $out/etc/passwd
      echo '"'token = $token'"' > $out/srv/app.txt
      echo '"'api_key = \\\"$(printf 'q7Zx2Lm9Kd4Rt8Wb3Yc6')\\\"'"' > $out/etc/app.ini";
  in buildImage { name = "bad"; tag = "latest"; copyToRoot = files;
    perms = [ { path = files; regex = ".*/bin/setuid$"; mode = "4755"; } { path = files; regex = ".*/bin/setgid$"; mode = "2755"; }
              { path = files; regex = ".*/srv(/open)?$"; mode = "0777"; } ];
    config = { Cmd = [ "${pkgs.bash}/bin/bash" ]; User = "admin"; ExposedPorts = { "80/tcp" = { }; "8080/tcp" = { }; };
      Volumes."/proc" = { }; Env = [ "DB_PASSWORD=hunter2" "DB_PASSWORD_FILE=/run/secrets/db" ]; }; }')
hardening "$bad"
same "$(places_of root-user)$(places_of writable-root)$(places_of health-check)$(places_of latest-tag)" "config.User config.User config.Healthcheck tag "
same "$(places_of setuid)" "/bin/setgid /bin/setuid "
same "$(places_of world-writable)" "/srv /srv/open "
same "$(places_of shell | grep -o '/bin/bash')" /bin/bash
same "$(fixes_of shell | head -n 1 | grep -o 'forbiddenPaths = \[ "bash')" 'forbiddenPaths = [ "bash'
same "$(places_of privileged-port)" 'config.ExposedPorts."80/tcp" '
same "$(places_of sensitive-volume)" 'config.Volumes."/proc" '
same "$(places_of empty-password)$(places_of duplicate-id)" "/etc/shadow /etc/passwd "
same "$(places_of leftover-file)" "/home/.git "
same "$(places_of secret)" "/etc/app.ini /srv/app.txt config.Env: DB_PASSWORD "
lacks -F "$token" "$work/json"
lacks -F hunter2 "$work/json"
"$strata" explain "$bad" --harden >"$work/table"
grep -q '^root-user (CIS 4.1, CIS-DI-0001)$' "$work/table" || { cat "$work/table"; fail "the items of other lists are not shown"; }
grep -q '^    config.User = "1000:1000"$' "$work/table" || { cat "$work/table"; fail "the fix is not shown"; }
lacks -F "$token" "$work/table"

# check: each check is a test, and exceptions are for a check or for places.
status=0; "$strata" check "$bad" --harden >"$work/out" || status=$?
same "$status" 1
grep -q '^FAIL Hardening Test: setuid$' "$work/out" || { cat "$work/out"; fail "no test fails"; }
allow=()
for check in $(jq -r '.findings[].check' "$work/json" | sort -u); do allow+=(--harden-allow "$check"); done
"$strata" check "$bad" --harden "${allow[@]}" >/dev/null
status=0; "$strata" check "$bad" --harden "${allow[@]/%setuid/setuid:\/bin\/setuid}" >"$work/out" || status=$?
same "$status" 1
same "$(grep '^FAIL' "$work/out")" "FAIL Hardening Test: setuid"
same "$(grep -c 'bin/setgid' "$work/out")" 1
# Next to a file of tests, as JUnit.
printf 'schemaVersion: 2.0.0\nmetadataTest: {user: "1000:1000"}\n' >"$work/tests.yaml"
"$strata" check "$good" "$work/tests.yaml" --harden --output junit >"$work/out"
same "$(grep -o 'tests="16"' "$work/out" | head -n 1)" 'tests="16"'
for arguments in "--harden-allow shell" "--harden --engine docker" "--harden --harden-allow shells" ""; do
  status=0; "$strata" check "$good" $arguments >"$work/out" 2>&1 || status=$?
  same "$status" 2
done

# A file that a later layer removes: its modes are gone, its secret is still downloaded. The same in an archive.
removed=$(build 'let first = buildImage { name = "first"; copyToRoot = pkgs.runCommand "f" { } "mkdir -p $out/srv; echo '"$token"' > $out/srv/key.txt; touch $out/srv/open";
    perms = [ ]; config.User = "1"; };
  in dockerTools.buildImage { name = "removed"; tag = "1"; fromImage = first; runAsRoot = "rm -r /srv"; config.User = "1"; }')
hardening "$removed"
same "$(places_of secret)" "/srv/key.txt "
same "$(places_of world-writable)x" x

# A user that is not root: what it can write to outside of volumes, and the owner of a hard link.
owned=$(build 'dockerTools.buildLayeredImage { name = "owned"; tag = "1"; fakeRootCommands = "mkdir -p var/lib/app/sub data tmp etc; chown 33:33 var/lib/app var/lib/app/sub data
    chmod 1777 tmp; touch etc/own; chmod 4755 etc/own; ln etc/own etc/second"; config = { User = "33"; Volumes."/data" = { }; }; }')
hardening "$owned"
same "$(places_of writable-root)" "/tmp /var/lib/app "
same "$(places_of root-user)x" x
same "$(places_of setuid)" "/etc/own /etc/second "
same "$(places_of world-writable)x" x

# Capabilities of a file, in an archive of another tool.
python3 - "$work/capable.tar" <<'PYTHON'
import hashlib, io, json, sys, tarfile
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
    entry = tarfile.TarInfo("bin/server")
    entry.size, entry.mode = 7, 0o755
    # cap_net_bind_service=ep
    entry.pax_headers = {"SCHILY.xattr.security.capability": b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0".decode()}
    tar.addfile(entry, io.BytesIO(b"program"))
tar = layer.getvalue()
config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"User": "1"}, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]}}).encode()
with tarfile.open(sys.argv[1], "w") as archive:
    for name, data in (("layer.tar", tar), ("config.json", config), ("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["capable:t"], "Layers": ["layer.tar"]}]).encode())):
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
PYTHON
hardening "$work/capable.tar"
same "$(places_of file-capability)" "/bin/server "
same "$(fixes_of file-capability)" "docker run --cap-drop=ALL --cap-add=NET_BIND_SERVICE"
