# The examples in nix2container's repository: each is loaded and run, and prints what nix2container's tests expect.
. "$root/tests/lib.sh"
use_nix2container
. "$root/tests/services.sh"
need_command jq
export XDG_CACHE_HOME=$work/cache

# load_image EXPR: builds the image, copies it into docker, and sets $path and $name.
load_image() {
  path=$(build "$1")
  "$strata" copy "$path" docker-daemon: --quiet >/dev/null
  name=$(jq -r '"\(.name):\(.tag)"' "$path")
}
# example EXPR EXPECTED [docker run arguments…]
example() {
  load_image "$1"
  same "$(run "${@:3}" "$name")" "$2"
  docker rmi "$name" >/dev/null
}
example 'buildImage { name = "hello"; config.entrypoint = [ "${pkgs.hello}/bin/hello" ]; }' "Hello, world!"
example 'buildImage { name = "bash"; copyToRoot = [ (pkgs.buildEnv { name = "root"; paths = [ pkgs.bashInteractive pkgs.coreutils ]; pathsToLink = [ "/bin" ]; }) ];
  config.Cmd = [ "/bin/bash" "-c" "ls /bin/ls" ]; }' /bin/ls
example 'let conversation = pkgs.writeScriptBin "conversation" "#!${pkgs.bash}/bin/bash\n${pkgs.hello}/bin/hello\n"; in
  buildImage { name = "basic"; config.entrypoint = [ "${conversation}/bin/conversation" ];
    layers = [ (buildLayer { deps = [ pkgs.bash pkgs.hello ]; }) ]; }' "Hello, world!"
load_image 'buildImage { name = "nginx"; copyToRoot = [ pkgs.dockerTools.fakeNss (pkgs.runCommand "dirs" { } "mkdir -p $out/var/log/nginx $out/var/lib/nginx $out/tmp") ];
  config.Cmd = [ "${pkgs.nginx}/bin/nginx" "-t" "-g" "error_log stderr; pid /tmp/pid;" "-c" (pkgs.writeText "nginx.conf" "user nobody nobody; events { } http { server { listen 80; } }") ]; }'
run "$name" >"$work/messages" 2>&1 || { cat "$work/messages"; fail "nginx"; }
grep -q "test is successful" "$work/messages" || { cat "$work/messages"; fail "nginx"; }
docker rmi "$name" >/dev/null
same "$(build 'buildImage { name = "layered"; maxLayers = 3; config.entrypoint = [ "${pkgs.jq}/bin/jq" ]; }' | xargs jq '.layers | length')" 3
# Nested: a chain of 13 layers costs 13.
load_image 'let chain = number: buildLayer { deps = [ (pkgs.writeTextDir "layer-${toString number}" "x") ];
    layers = if number == 0 then [ ] else map chain [ (number - 1) ]; };
  in buildImage { name = "nested"; layers = [ (chain 12) ]; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }'
same "$(jq '.layers | length' "$path")" 14
same "$(run "$name")" "Hello, world!"
docker rmi "$name" >/dev/null
# Duplicated: siblings with the same paths. Only the lowest keeps them.
load_image 'buildImage { name = "duplicated"; config.Cmd = [ "${pkgs.jq}/bin/jq" "-n" "1" ];
  layers = [ (buildLayer { deps = [ pkgs.hello ]; }) (buildLayer { deps = [ pkgs.jq ]; }) (buildLayer { deps = [ pkgs.hello ]; metadata.comment = "again"; }) ]; }'
same "$(jq '[.layers[].paths[]?.path] | length' "$path")" "$(jq '[.layers[].paths[]?.path] | unique | length' "$path")"
same "$(run "$name")" 1
# The log of a build is only printed when it runs, so the store must lack the result.
drv=$(nix-instantiate --expr "$(expression 'buildImage { name = "duplicated"; config.Env = [ "run='"$(date +%s%N)"'" ];
  layers = [ (buildLayer { deps = [ pkgs.hello ]; }) (buildLayer { deps = [ pkgs.hello pkgs.jq ]; }) ]; }')" 2>/dev/null)
nix-store --realise "$drv" >/dev/null 2>"$work/log"
grep -q '^Leaving /nix/store/.*-glibc-.* to layer 1, which holds it already$' "$work/log" || { cat "$work/log"; fail "the log lacks the path that is left out"; }
docker rmi "$name" >/dev/null

permissions='let tree = pkgs.runCommand "tree" { } "mkdir -p $out/home/user; echo secret > $out/home/user/file"; in'
example "$permissions"' buildImage { name = "ownership"; copyToRoot = [ tree pkgs.coreutils ];
  perms = [ { path = tree; regex = "/home/user"; mode = "0744"; uid = 1000; gid = 1001; uname = "user"; gname = "users"; } ];
  config.Cmd = [ "/bin/stat" "-c" "%u %g %a %n" "/home/user" "/home/user/file" "/home" ]; }' \
  $'1000 1001 744 /home/user\n1000 1001 744 /home/user/file\n0 0 555 /home'
example "$permissions"' buildImage { name = "openbar"; copyToRoot = [ tree pkgs.coreutils ]; perms = [ { path = tree; regex = "/home/.*"; mode = "0777"; } ];
  config.Cmd = [ "/bin/stat" "-c" "%a" "/home/user/file" ]; }' 777
path=$(build 'buildImage { name = "metadata"; created = "2026-01-02T03:04:05Z"; labels.a = "b"; annotations."org.example.x" = "y"; config.Labels.c = "d";
  layers = [ (buildLayer { deps = [ pkgs.hello ]; metadata = { created_by = "me"; author = "you"; comment = "why"; created = "2020-01-01T00:00:00Z"; }; }) ]; }')
"$strata" inspect "$path" --config >"$work/config"
same "$(jq -c '[.created, .history[0].created_by, .history[0].author, .history[0].comment, .config.Labels.a, .config.Labels.c]' "$work/config")" \
  '["2026-01-02T03:04:05Z","me","you","why","b","d"]'
"$strata" copy "$path" "oci:$work/annotated" >/dev/null
same "$(jq -r '.annotations["org.example.x"]' "$work/annotated/blobs/sha256/$(jq -r '.manifests[0].digest' "$work/annotated/index.json" | cut -d : -f 2)")" y

# Not reproducible: the bytes of each layer are next to the recipe.
layer=$(build 'buildLayer { deps = [ pkgs.hello ]; reproducible = false; maxLayers = 2; }')
same "$(jq -r '.[]["layer-path"]' "$layer/layers.json" | wc -l)" 2
jq -r '.[] | .digest[7:] + "  " + .["layer-path"]' "$layer/layers.json" | sha256sum --check --quiet
example 'buildImage { name = "unsteady"; layers = [ (buildLayer { deps = [ pkgs.hello ]; reproducible = false; maxLayers = 2; }) ];
  config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }' "Hello, world!"
# A mounted store: the image has only the files at the root.
example 'buildImage { name = "mounted"; includeStorePaths = false; copyToRoot = pkgs.hello; config.Cmd = [ "/bin/hello" ]; }' "Hello, world!" \
  --volume /nix/store:/nix/store:ro

# Nix in the container: as root, and as another user.
nix='copyToRoot = [ (pkgs.buildEnv { name = "root"; paths = [ pkgs.coreutils pkgs.bash pkgs.nix ]; pathsToLink = [ "/bin" ]; })
    (pkgs.runCommand "tmp" { } "mkdir -p $out/tmp $out/home/user $out/etc; echo user:x:1000:1000::/home/user: > $out/etc/passwd; echo user:x:1000: > $out/etc/group") ];
  config.Env = [ "NIX_PAGER=cat" "NIX_CONFIG=build-users-group =" "USER=nobody" "HOME=/home/user" "PATH=/bin" ];'
load_image "buildImage { name = \"nix\"; tag = \"t\"; initializeNixDatabase = true; layers = [ (buildLayer { deps = [ pkgs.hello ]; }) ];
  $nix config.Cmd = [ \"/bin/bash\" \"-c\" \"nix-store --verify --check-contents 2>&1; nix-store -qR \${pkgs.hello}\" ]; }"
run "$name" >"$work/messages"
grep -vE '^(/nix/store/|reading the Nix store|checking )' "$work/messages" && fail "the database differs from the store"
same "$(grep '^/nix/store/' "$work/messages" | sort)" "$(nix-store -qR "$(build pkgs.hello)" | sort)"
docker rmi "$name" >/dev/null
# keepStorePaths: packages at the root are in the database and in the store, too. (nix2container issue 192, pull request
# 199)
load_image "buildImage { name = \"nix-kept\"; tag = \"t\"; initializeNixDatabase = true; keepStorePaths = true; copyToRoot = [ pkgs.hello pkgs.bash pkgs.nix ];
  config.Env = [ \"NIX_CONFIG=build-users-group =\" \"USER=nobody\" \"HOME=/home/user\" \"PATH=/bin\" ];
  config.Cmd = [ \"/bin/bash\" \"-c\" \"nix-store --verify --check-contents 2>&1; nix-store -qR \${pkgs.hello}; /bin/hello; \${pkgs.hello}/bin/hello\" ]; }"
lacks warning "$work/log"
run "$name" >"$work/messages"
same "$(grep -vE '^(/nix/store/|reading the Nix store|checking )' "$work/messages")" $'Hello, world!\nHello, world!'
same "$(grep '^/nix/store/' "$work/messages" | sort)" "$(nix-store -qR "$(build pkgs.hello)" | sort)"
docker rmi "$name" >/dev/null
build_fails 'buildImage { name = "x"; includeStorePaths = false; keepStorePaths = true; }' "buildImage has keepStorePaths and includeStorePaths = false; give one"
example "buildImage { name = \"nix-user\"; initializeNixDatabase = true; nixUid = 1000; nixGid = 1000; $nix config.User = \"1000:1000\";
  config.Cmd = [ \"/bin/bash\" \"-c\" \"nix-store --add /etc/passwd | cut -d - -f 2\" ]; }" passwd

# A web application with its own server, as in the uwsgi example.
example 'let app = pkgs.writeTextDir "app.py" "import http.client, http.server, threading\nserver = http.server.HTTPServer((\"127.0.0.1\", 8080), type(\"Quiet\", (http.server.SimpleHTTPRequestHandler,), {\"log_message\": lambda *_: None}))\nthreading.Thread(target=server.serve_forever, daemon=True).start()\nconnection = http.client.HTTPConnection(\"127.0.0.1\", 8080)\nconnection.request(\"HEAD\", \"/app.py\")\nprint(connection.getresponse().status)\n"; in
  buildImage { name = "web"; layers = [ (buildLayer { deps = [ pkgs.python3 ]; maxLayers = 5; }) ];
    config = { WorkingDir = "${app}"; Entrypoint = [ "${pkgs.python3}/bin/python3" "${app}/app.py" ]; }; }' \
  200

# Base images: pulled by digest and by manifest, with the hashes of skopeo's users.
need_command docker-registry
base=$(build 'buildImage { name = "base"; tag = "t"; copyToRoot = [ pkgs.busybox (pkgs.writeTextDir "etc/base" "of the base") ];
  config = { Env = [ "PATH=/bin" "BASE=1" ]; Cmd = [ "cat" "/etc/base" ]; WorkingDir = "/etc"; }; }')
start_registry "$work/registry"
trap 'stop_registry' EXIT
# A copy program takes another destination of its transport: `nix run .#image.copyToRegistry -- docker://HOST/NAME:TAG`.
"$(build "(buildImage { name = \"base\"; tag = \"t\"; }).copyToRegistry")/bin/copy-to-registry" "docker://$registry/elsewhere:v1" --quiet >/dev/null
"$strata" manifest "$registry/elsewhere:v1" >/dev/null
digest=$("$strata" copy "$base" "docker://$registry/base:t" --quiet)
skopeo copy --quiet --src-tls-verify=false "docker://$registry/base@$digest" "dir:$work/by-skopeo"
hash=$(nix-hash --type sha256 --base32 "$work/by-skopeo")
pulled="(pullImage { imageName = \"$registry/base\"; imageDigest = \"$digest\"; sha256 = \"$hash\"; tlsVerify = false; })"
same "$(nix-hash --type sha256 --base32 "$(build "$pulled.directory")")" "$hash"
example "buildImage { name = \"from-image\"; fromImage = $pulled; config.Cmd = [ \"/bin/cat\" \"/etc/base\" ]; }" "of the base"
# A push to the registry of the base mounts its layers.
"$strata" copy "$(build "buildImage { name = \"on-base\"; fromImage = $pulled; config.Env = [ \"A=1\" ]; }")" "docker://$registry/on-base:t" 2>"$work/log" >/dev/null
same "$(cut -d , -f 1 "$work/log")" "pushed 0 of $(jq '.layers | length' "$base") layers"
example "buildImage { name = \"inherits\"; fromImage = $pulled; inheritConfig = true; }" "of the base"
same "$(build "buildImage { name = \"x\"; fromImage = $pulled; }" | xargs jq -c '."image-config"')" '{}'
same "$(build "buildImage { name = \"x\"; fromImage = $pulled; inheritConfig = true; config = { Env = [ \"BASE=2\" ]; Cmd = null; }; }" | xargs jq -c '."image-config"')" \
  '{"Env":["PATH=/bin","BASE=2"],"WorkingDir":"/etc"}'
build_fails "buildImage { name = \"x\"; fromImage = pullImage { imageName = \"$registry/base\"; imageDigest = \"$digest\"; sha256 = \"0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\"; tlsVerify = false; }; }" \
  "hash mismatch"
getter=$(build "(pullImageFromManifest { imageName = \"base\"; imageTag = \"t\"; registryUrl = \"$registry\"; tlsVerify = false; }).getManifest")
"$getter/bin/get-manifest" >"$work/manifest.json"
same "sha256:$(sha256sum <"$work/manifest.json" | cut -d ' ' -f 1)" "$digest"
example "buildImage { name = \"from-manifest\"; config.Cmd = [ \"/bin/cat\" \"/etc/base\" ];
  fromImage = pullImageFromManifest { imageName = \"base\"; imageManifest = $work/manifest.json; registryUrl = \"$registry\"; tlsVerify = false; }; }" "of the base"
# The platform selects an image of an index.
layout=$(build 'let image = architecture: variant: ociImageManifest { extraConfig = { inherit architecture; config.Env = [ "FOR=${architecture}${variant}" ]; } //
      (if variant == "" then { } else { inherit variant; });
    layers = [ (ociLayerTar { files = [ { source = pkgs.hello; destination = "/"; } ]; }) ]; };
  in ociImageLayout { manifests = [ (image "amd64" "") (image "arm" "v6") (image "arm" "v7") ]; }')
index=$("$strata" copy "$layout" "docker://$registry/index:t" --all --quiet)
skopeo copy --quiet --src-tls-verify=false --override-arch arm --override-variant v7 "docker://$registry/index@$index" "dir:$work/arm"
same "$(build "buildImage { name = \"x\"; inheritConfig = true; arch = \"arm\"; variant = \"v7\"; fromImage = pullImage {
    imageName = \"$registry/index\"; imageDigest = \"$index\"; sha256 = \"$(nix-hash --type sha256 --base32 "$work/arm")\"; arch = \"arm\"; variant = \"v7\"; tlsVerify = false; }; }" |
  xargs jq -c '[."image-config".Env[0], .arch, .variant]')" '["FOR=armv7","arm","v7"]'

# Other kinds of base images, recognised by their contents, result in the same image.
"$strata" copy "$base" "docker-archive:$work/base.tar" --quiet >/dev/null
gzip -k "$work/base.tar"; zstd -q "$work/base.tar"; xz -k -0 "$work/base.tar"
"$strata" copy "$base" "oci:$work/base-layout:t" --quiet >/dev/null
expected=$(build "buildImage { name = \"x\"; fromImage = $base; config.Cmd = [ \"/bin/cat\" \"/etc/base\" ]; }" | xargs jq -c '[.layers[].digest]')
for kind in base.tar base.tar.gz base.tar.zst base.tar.xz base-layout; do
  same "$(build "buildImage { name = \"x\"; fromImage = $work/$kind; config.Cmd = [ \"/bin/cat\" \"/etc/base\" ]; }" | xargs jq -c '[.layers[].digest]')" "$expected"
done
