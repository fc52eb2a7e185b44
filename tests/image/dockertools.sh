# makeContainerImage and dockerTools: scripts, base images, owners, databases. Containers have the requested contents.
. "$root/tests/lib.sh"
need_command jq

# container EXPR EXPECTED [docker run arguments…]: builds the image, loads it, runs it, and compares the output.
container() {
  local path name
  path=$(build "$1")
  name=$(load <"$path")
  same "$(run "${@:3}" "$name")" "$2"
  docker rmi "$name" >/dev/null
  # A second build has the same bytes.
  nix-build --no-out-link --check --expr "$(expression "$1")" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "not reproducible: $1"; }
}

# The examples in Makes' documentation: the old form, several layers, and one layer with a script that runs as root.
container 'makeContainerImage { layers = [ pkgs.coreutils (pkgs.writeTextDir "working-dir/my-file" "contents") ];
  config = { Env = [ "PATH=/bin" ]; WorkingDir = "/working-dir"; Cmd = [ "cat" "my-file" ]; }; }' contents
base='(makeContainerImage { name = "base"; layers = [ pkgs.bash pkgs.coreutils ]; config = { Env = [ "PATH=/bin" "BASE=1" ]; Cmd = [ "sh" ]; Labels.a = "b"; }; })'
container "makeContainerImage { fromImage = $base; maxLayers = 70; layers = [ pkgs.hello ]; config = { Env = [ \"MORE=2\" ]; Cmd = [ \"bash\" \"-c\" \"echo \$BASE \$MORE; hello\" ]; }; }" \
  $'1 2\nHello, world!'
container "makeContainerImage { layered = false; fromImage = \"\${$base}\"; layers = [ pkgs.hello ]; runAsRoot = ''
    mkdir -p /data
    echo text > /data/file
  ''; config.Cmd = [ \"cat\" \"/data/file\" ]; }" text
build_fails 'makeContainerImage { runAsRoot = "true"; }' "argument runAsRoot of makeContainerImage is for layered = false"
build_fails "makeContainerImage { fromImage = $base; maxLayers = 3; }" "argument maxLayers is 3; at least"
same "$("$strata" inspect --config "$(build "makeContainerImage { fromImage = $base; inheritConfig = true; config = { Cmd = null; }; }")" | jq -c '.config | [.Cmd, .Env, .Labels]')" \
  '[null,["PATH=/bin","BASE=1"],{"a":"b"}]'
same "$("$strata" inspect --config "$(build "makeContainerImage { fromImage = $base; inheritConfig = false; }")" | jq -c .config)" '{}'

# fakeroot: owners, modes and devices are in the image.
listing='bash -c "stat -c \"%u %g %a %F %n\" /data /data/owned /data/suid /data/null"'
container 'dockerTools.buildLayeredImage { name = "faked"; tag = "t"; contents = [ pkgs.bash pkgs.coreutils ];
  extraCommands = "mkdir data; echo x > data/owned; cp data/owned data/suid; chmod 755 data/suid";
  fakeRootCommands = "chown 12:34 data/owned; chmod 4755 data/suid; mknod data/null c 1 3; chown 5:6 data";
  config = { Env = [ "PATH=/bin" ]; Cmd = [ "stat" "-c" "%u %g %a %F %t %T" "/data" "/data/owned" "/data/suid" "/data/null" ]; }; }' \
  $'5 6 755 directory 0 0\n12 34 644 regular file 0 0\n0 0 4755 regular file 0 0\n0 0 644 character special file 1 3'
container 'dockerTools.buildLayeredImage { name = "chroot"; tag = "t"; contents = [ pkgs.bash pkgs.coreutils ]; enableFakechroot = true;
  fakeRootCommands = "mkdir -p /home/me; echo x > /home/me/file; chown -R 1000:1000 /home/me; ls /nix/store > /dev/null";
  config = { Env = [ "PATH=/bin" ]; Cmd = [ "bash" "-c" "stat -c %u%g /home/me/file; ls -d /proc/self /dev/null; ls -A /nix" ]; }; }' \
  $'10001000\n/dev/null\n/proc/self\nstore'
build_fails 'dockerTools.buildLayeredImage { name = "x"; extraCommands = "true\nfalse\necho never"; }' "line 2 of extraCommands failed with status 1: false"
build_fails 'dockerTools.buildLayeredImage { name = "x"; fakeRootCommands = "echo said\nfalse"; }' said "line 2 of fakeRootCommands failed with status 1: false"
build_fails 'dockerTools.buildLayeredImage { name = "x"; enableFakechroot = true; fakeRootCommands = "true\nexit 7"; }' "argument fakeRootCommands: the script failed with exit status: 7"
build_fails 'dockerTools.buildImage { name = "x"; runAsRoot = "echo said\n(exit 3)\n"; }' said "line 2 of runAsRoot failed with status 3: ( exit 3 )"

# If user namespaces are forbidden, the message has the setting that allows them.
text=$(expression 'dockerTools.buildImage { name = "x"; runAsRoot = "never"; }')
unshare --user --map-root-user --mount --pid --fork --mount-proc bash -c \
  'echo 0 >/proc/sys/user/max_user_namespaces; nix-build --option sandbox false --no-out-link --expr "$1"' bash "$text" >"$work/log" 2>&1 &&
  fail "runAsRoot worked without user namespaces"
grep -qF "the script could not be started, for the reason above. It needs user namespaces: set kernel.apparmor_restrict_unprivileged_userns = 0 on Ubuntu" "$work/log" || { cat "$work/log"; fail "the message lacks the setting that allows user namespaces"; }

# A script that runs as root on a base: a user, owners, deletions, replacements, devices, setuid programs.
everything="dockerTools.buildImage { name = \"everything\"; tag = \"t\"; diskSize = 4096; buildVMMemorySize = 9;
  fromImage = dockerTools.buildImage { name = \"below\"; copyToRoot = [ pkgs.busybox (pkgs.runCommand \"tree\" { } ''
    mkdir -p \$out/etc \$out/gone \$out/replaced/sub \$out/again/old; echo root:x:0:0::/:/bin/sh > \$out/etc/passwd
    echo 1 > \$out/gone/file; echo 1 > \$out/replaced/sub/file; echo 1 > \$out/again/old/file; echo 1 > \$out/kept; echo 1 > \$out/removed
  '') ]; config.Env = [ \"PATH=/bin\" ]; };
  runAsRoot = ''
    #!/bin/sh
    echo me:x:1000:1000::/home/me:/bin/sh >> /etc/passwd
    mkdir -p /home/me
    chown 1000:1000 /home/me
    rm /removed
    rm -r /gone /replaced /again
    echo file > /replaced
    mkdir /again
    echo new > /again/new
    mknod /device b 7 8
    echo program > /program
    chmod 4755 /program
  '';
  config.Cmd = [ \"sh\" \"-c\" \"id -u me; stat -c '%u %g %a %F' /home/me /replaced /device /program; ls -A /again; ls -d /removed /gone 2>&1 | sed 's/.*: \\\\([^:]*\\\\)$/\\\\1/'; cat /kept; ls -d /nix /proc/1 /.strata-scripts 2>/dev/null | cat\" ]; }"
path=$(build "$everything")
name=$(load <"$path")
same "$(run "$name")" "$(printf '%s\n' 1000 '1000 1000 755 directory' '0 0 644 regular file' '0 0 644 block special file' '0 0 4755 regular file' new \
  'No such file or directory' 'No such file or directory' 1 /proc/1)"
docker rmi "$name" >/dev/null
"$strata" copy "$path" "oci:$work/everything:t" --quiet >/dev/null
as_root umoci unpack --image "$work/everything:t" "$work/bundle" >"$work/log" 2>&1 || { cat "$work/log"; fail "umoci"; }
as_root chmod 755 "$work/bundle"
rootfs=$work/bundle/rootfs
[[ -f $rootfs/replaced && -d $rootfs/again && ! -e $rootfs/again/old && ! -e $rootfs/removed && ! -e $rootfs/gone && -f $rootfs/kept ]] || fail "umoci sees something else"
same "$(stat -c '%u %g' "$rootfs/home/me") $(stat -c '%a' "$rootfs/program") $(stat -c '%F %t %T' "$rootfs/device")" "1000 1000 4755 block special file 7 8"
for leaked in proc/self dev/null .strata-scripts; do [[ ! -e $rootfs/$leaked ]] || fail "$leaked leaks into the layer"; done
nix-build --no-out-link --check --expr "$(expression "$everything")" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "not reproducible"; }

# The example of shadowSetup in nixpkgs.
container 'dockerTools.buildImage { name = "shadow-basic"; tag = "t"; copyToRoot = [ pkgs.busybox ];
  runAsRoot = "#!${pkgs.bash}/bin/bash\n${dockerTools.shadowSetup}\ngroupadd -r redis\nuseradd -r -g redis redis\nmkdir /data\nchown redis:redis /data\n";
  config.Cmd = [ "/bin/sh" "-c" "grep -c ^redis: /etc/passwd /etc/group; test $(stat -c %u:%g /data) = $(id -u redis):$(id -g redis) && echo owned" ]; }' \
  $'/etc/passwd:1\n/etc/group:1\nowned'

# Streams: the result is an executable, and no part of the image is in the store.
stream=$(build 'dockerTools.streamLayeredImage { name = "streamed"; tag = "t"; contents = [ pkgs.hello ]; extraCommands = "echo x > made"; config.Cmd = [ "/bin/hello" ]; }')
same "$("$stream" | load)" streamed:t
same "$(run streamed:t)" "Hello, world!"
same "$("$stream" --repo_tag other:name | load)" other:name
docker rmi streamed:t other:name >/dev/null
# A stream of strata is a source: it leads to its image, which is read without running the program. The archive that the
# program writes lists no store paths.
same "$("$strata" inspect --json "$stream" | jq -c '.[0].layers | map(del(.paths))')" "$("$stream" | "$strata" inspect --json - | jq -c '.[0].layers')"
"$strata" copy "$stream" "oci:$work/from-stream:t"
"$strata" verify "oci:$work/from-stream:t" | grep -q ' 0 problems$'
# The layers are those of the archive.
same "$("$stream" >"$work/streamed.tar"; "$strata" inspect --json "$work/streamed.tar" | jq -c '[.[0].layers[].digest]')" \
  "$("$strata" inspect --json "$(build 'dockerTools.buildLayeredImage { name = "streamed"; tag = "t"; contents = [ pkgs.hello ]; extraCommands = "echo x > made"; config.Cmd = [ "/bin/hello" ]; }')" | jq -c '[.[0].layers[].digest]')"

# Compressors, owners, times, tags, attributes.
for compressor in none gz zstd; do
  path=$(build "dockerTools.buildLayeredImage { name = \"x\"; compressor = \"$compressor\"; contents = [ pkgs.hello ]; }")
  case $compressor in none) suffix=.tar ;; gz) suffix=.tar.gz ;; zstd) suffix=.tar.zst ;; esac
  [[ $path == *-x$suffix ]] || fail "$path is compressed by $compressor"
  "$strata" verify "$path" | grep -q ' 0 problems$' || fail "verify finds problems in $path"
  same "$("$strata" inspect --json "$path" | jq -r '.[0].reference')" "x:$(basename "$path" | cut -c 1-32)"
done
build_fails 'dockerTools.buildLayeredImage { name = "x"; compressor = "lz4"; }' "must be none, gz or zstd, not lz4"
build_fails 'dockerTools.buildLayeredImage { name = "x"; created = "yesterday"; }' '"yesterday"'
path=$(build 'dockerTools.buildLayeredImage { name = "owned"; compressor = "none"; contents = [ pkgs.hello ]; uid = 7; gid = 8; uname = "me"; gname = "us"; mtime = "2026-01-02T03:04:05Z"; }')
mkdir "$work/owned"
tar -xf "$path" -C "$work/owned"
layer=$(jq -r '.[0].Layers[0]' "$work/owned/manifest.json")
tar -tvPf "$work/owned/$layer" >"$work/listing"
grep -qE ' me/us .* 2026-01-02 03:04 /nix/store/[^/]*$' "$work/listing" || { cat "$work/listing"; fail "owner and time"; }
now=$("$strata" inspect --config "$(build 'dockerTools.buildLayeredImage { name = "now"; created = "now"; }')" | jq -r .created)
[[ $now == 20[2-9]* ]] || fail "now is $now"
# `created = "now"` of a stream is the time of its run, not of its build.
stream=$(build 'dockerTools.streamLayeredImage { name = "now"; tag = "t"; created = "now"; contents = [ pkgs.hello ]; }')
before=$(date +%s)
"$stream" >"$work/streamed"
(($(date +%s --date "$("$strata" inspect --config "$work/streamed" | jq -r .created)") >= before)) || fail "the stream is older than its run"
"$stream" --created 2031-02-03T04:05:06Z >"$work/streamed"
same "$("$strata" inspect --config "$work/streamed" | jq -r '.created, .history[-1].created' | sort -u)" 2031-02-03T04:05:06Z
"$strata" verify "$work/streamed" | grep -q ' 0 problems$' || fail "verify finds problems in a stream"
same "$(build '(dockerTools.buildLayeredImage { name = "Some/Name"; tag = "t"; meta.description = "d"; passthru.a = pkgs.hello; }).a')" "$(build pkgs.hello)"
same "$(nix-instantiate --eval --expr "$(expression 'let i = dockerTools.streamLayeredImage { name = "Some/Name"; tag = "t"; }; in "${i.imageName}:${i.imageTag} ${toString i.isExe}"')" 2>/dev/null)" '"some/name:t 1"'
container 'dockerTools.buildLayeredImage { name = "links"; tag = "t"; includeStorePaths = false; contents = [ pkgs.hello ]; config.Cmd = [ "/bin/hello" ]; }' "Hello, world!" \
  --volume /nix/store:/nix/store:ro

# Nix in the container.
container 'dockerTools.buildLayeredImageWithNixDb { name = "nix"; tag = "t"; contents = [ pkgs.nix pkgs.bash pkgs.coreutils ];
  config = { Env = [ "PATH=/bin" "NIX_CONFIG=build-users-group =" "HOME=/" "USER=root" ];
    Cmd = [ "bash" "-c" "nix-store --verify --check-contents >/log 2>&1 && echo verified || cat /log; nix-store -qR \$(readlink -f /bin/bash | cut -d / -f 1-4) | wc -l" ]; }; }' \
  $'verified\n'"$(nix-store -qR "$(build pkgs.bash)" | wc -l)"

# Images merged, exported; small packages.
merged=$(build 'dockerTools.mergeImages [ (dockerTools.buildImage { name = "one"; tag = "t"; copyToRoot = pkgs.hello; config.Cmd = [ "/bin/hello" ]; })
  (dockerTools.buildImage { name = "two"; tag = "t"; copyToRoot = pkgs.hello; config.Cmd = [ "/bin/hello" "-g" "two" ]; }) ]')
docker load --quiet <"$merged" >/dev/null
same "$(run one:t) $(run two:t)" "Hello, world! two"
docker rmi one:t two:t >/dev/null
# The merged files, too. Only the archive is written to the standard output, under all of its names.
"$strata" copy "$(build 'buildImage { name = "a"; tag = "t"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')" docker-archive:/dev/stdout:file:t --quiet >"$work/file.tar"
gzip "$work/file.tar"
merged=$(build "dockerTools.mergeImages [ $work/file.tar.gz (dockerTools.buildImage { name = \"two\"; tag = \"t\"; copyToRoot = pkgs.hello; }) ]")
"$strata" copy "docker-archive:$merged:file:t" docker-archive:/dev/stdout:again:t --quiet | docker load --quiet >/dev/null
same "$(run again:t)" "Hello, world!"
docker rmi again:t >/dev/null
# Streams are merged and exported without running them.
stream='dockerTools.streamLayeredImage { name = "streamed"; tag = "t"; contents = pkgs.hello; config.Cmd = "/bin/hello"; }'
docker load --quiet <"$(build "dockerTools.mergeImages [ ($stream) ]")" >/dev/null
same "$(run streamed:t)" "Hello, world!"
docker rmi streamed:t >/dev/null
[[ $(tar -tPf "$(build "dockerTools.exportImage { fromImage = $stream; }")") == *./bin/hello* ]] || fail "the stream is not exported"
# The environment of nix-shell for a derivation: its variables, its user and its directory.
container 'dockerTools.buildNixShellImage { drv = pkgs.runCommand "shell" { word = "seen"; } "true"; name = "nix-shell"; tag = "t";
  run = "touch /nix/store/x here; echo $word $HOME $PWD $UID $name"; }' "seen /build /build 1000 shell"
# Arguments and attributes of a result can be overridden.
container '(dockerTools.buildImage { name = "overridden"; tag = "no"; copyToRoot = pkgs.hello; }).override { tag = "t"; config.Cmd = "/bin/hello"; }' \
  "Hello, world!"
same "$(nix-instantiate --eval --strict --json --expr "$(expression '
  let
    image = dockerTools.buildLayeredImage { name = "x"; meta.description = "before"; };
    other = image.overrideAttrs (old: { name = "other"; meta = old.meta // { description = "after"; }; passthru.more = 1; });
    single = dockerTools.buildImage { name = "x"; tag = "t"; };
    # Both overrides apply, in any order.
    both = (other.override { tag = "t"; }).overrideAttrs { more = true; };
  in [ both.name both.drvAttrs.more both.imageTag other.name other.meta.description other.more (other.drvPath == image.drvPath) single.buildArgs (single ? layer) image.stream.isExe (image ? conf)
    single.passthru.imageTag (single.passthru ? buildArgs) (image.passthru ? stream) ]')")" \
  '["other",true,"t","other","after",1,false,{"name":"x","tag":"t"},true,true,true,"t",true,true]'
same "$(docker run --rm "$(load <"$(build 'dockerTools.buildLayeredImage { name = "kept"; tag = "t"; contents = pkgs.hello; created = "Tue Nov 14 22:13:20 UTC 2023";
  config = { Cmd = pkgs.writeShellScript "greet" "exec /bin/hello"; Hostname = "kept"; Memory = 67108864; }; }')")")" "Hello, world!"
same "$(docker image inspect kept:t --format '{{.Config.Hostname}} {{.Created}}')" "kept 2023-11-14T22:13:20Z"
docker rmi kept:t >/dev/null
# A subdirectory of a package and a file of the project at the root.
for function in "buildImage { copyToRoot" "buildLayeredImage { contents"; do
  container "dockerTools.$function = [ \"\${pkgs.hello}/bin\" ]; name = \"part\"; tag = \"t\"; config.Cmd = \"/hello\"; }" "Hello, world!"
done
exported=$(build "dockerTools.exportImage { fromImage = $everything; }")
tar -tvPf "$exported" >"$work/listing"
same "$(head -n 1 "$work/listing" | sed 's/.* //')" ./
grep -qE '^brw.* 7,8 .* \./device$' "$work/listing" || { cat "$work/listing"; fail "the device is not exported"; }
lacks -qE '/(gone|removed|\.wh)' "$work/listing"
container 'dockerTools.buildLayeredImage { name = "nss"; tag = "t"; contents = with dockerTools; [ fakeNss binSh usrBinEnv caCertificates pkgs.coreutils ];
  config = { Env = [ "PATH=/bin" ]; User = "nobody"; Cmd = [ "/usr/bin/env" "sh" "-c" "id -un; test -s /etc/ssl/certs/ca-bundle.crt && echo certificates" ]; }; }' \
  $'nobody\ncertificates'
