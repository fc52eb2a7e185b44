# Base images: the choice of one of several, of all kinds, and the inherited configuration.
. "$root/tests/lib.sh"
need_command jq

# A base image with all fields of the configuration.
below='(dockerTools.buildImage { name = "below"; tag = "t"; copyToRoot = [ pkgs.busybox (pkgs.writeTextDir "etc/below" "below") ]; config = {
  Env = [ "PATH=/bin" "KEPT=1" "CHANGED=1" ]; Entrypoint = [ "/bin/sh" "-c" ]; Cmd = [ "cat /etc/below" ]; User = "7"; WorkingDir = "/etc";
  Labels.below = "yes"; ExposedPorts."80/tcp" = { }; Volumes."/data" = { }; StopSignal = "SIGINT"; }; })'
# config FUNCTION ARGUMENTS: prints the configuration of an image on that base.
config() { "$strata" inspect --config "$(build "$1 { name = \"x\"; tag = \"t\"; fromImage = $below; $2 }")" | jq --sort-keys -c .config; }
all='{"Cmd":["cat /etc/below"],"Entrypoint":["/bin/sh","-c"],"Env":["PATH=/bin","KEPT=1","CHANGED=1"],"ExposedPorts":{"80/tcp":{}},"Labels":{"below":"yes"},"StopSignal":"SIGINT","User":"7","Volumes":{"/data":{}},"WorkingDir":"/etc"}'
for function in dockerTools.buildImage dockerTools.buildLayeredImage makeContainerImage; do
  # nixpkgs: pkgs/build-support/docker/stream_layered_image.py, overlay_base_config; default.nix, baseEnvs.
  same "$(config $function '')" '{"Env":["PATH=/bin","KEPT=1","CHANGED=1"]}'
  same "$(config $function 'config = { Env = [ "CHANGED=2" ]; Cmd = [ "env" ]; };')" '{"Cmd":["env"],"Env":["PATH=/bin","KEPT=1","CHANGED=2"]}'
  same "$(config $function 'inheritConfig = false; config.User = "9";')" '{"User":"9"}'
  same "$(config $function 'inheritConfig = true;')" "$all"
  # The last variable of a name is used. A set value replaces that of the base; null and empty values remove it.
  same "$(config $function 'inheritConfig = true; config = { Env = [ "CHANGED=2" "NEW=1" "NEW=2" ]; Entrypoint = null; Cmd = [ "env" ]; User = ""; WorkingDir = "/";
    Labels.above = "yes"; ExposedPorts = { }; Volumes = null; StopSignal = "SIGTERM"; };')" \
    '{"Cmd":["env"],"Env":["PATH=/bin","KEPT=1","CHANGED=2","NEW=2"],"Labels":{"above":"yes","below":"yes"},"StopSignal":"SIGTERM","WorkingDir":"/"}'
  same "$(config $function 'inheritConfig = true; config = { Env = [ ]; Cmd = [ ]; };')" "$(jq -c 'del(.Cmd)' <<<"$all")"
  # A base's entrypoint is not combined with the child's command.
  name=$(build "$function { name = \"x\"; tag = \"t\"; fromImage = $below; config.Cmd = [ \"/bin/echo\" \"own\" ]; }" | xargs cat | load)
  same "$(run "$name")" own
  docker rmi "$name" >/dev/null
done
# nix2container inherits nothing.
same "$(build "buildImage { name = \"x\"; fromImage = $below; }" | xargs jq -c '."image-config"')" '{}'
same "$(config dockerTools.buildImage 'inheritConfig = true; config.env = null;')" "$(jq -c 'del(.Env)' <<<"$all")"
# All steps of the base's history come first.
path=$(build "makeContainerImage { fromImage = $below; layers = [ pkgs.hello ]; }")
count=$("$strata" inspect --config "$path" | jq '.history | length')
same "$count" "$("$strata" inspect --config "$path" | jq '.rootfs.diff_ids | length')"
same "$("$strata" inspect --config "$path" | jq -r '.history[0].comment')" customisation

# All kinds of images, recognised by their contents, result in the same base.
archive=$(build "dockerTools.buildImage { name = \"below\"; tag = \"t\"; compressor = \"none\"; copyToRoot = [ pkgs.busybox ]; config.Env = [ \"PATH=/bin\" ]; }")
cp "$archive" "$work/base.tar"
gzip -k "$work/base.tar"
zstd -q "$work/base.tar"
xz -k -0 "$work/base.tar"
"$strata" copy "$archive" "oci:$work/layout:t" --quiet >/dev/null
"$strata" copy "$archive" "oci-archive:$work/oci.tar" --quiet >/dev/null
"$strata" copy "$archive" "dir:$work/dir" --quiet >/dev/null
skopeo copy --quiet "oci-archive:$work/oci.tar" "docker-archive:$work/by-skopeo.tar:below:t"
load <"$archive" >/dev/null
docker save below:t >"$work/by-docker.tar"
docker rmi below:t >/dev/null
digests() { "$strata" inspect --json "$(build "dockerTools.buildLayeredImage { name = \"x\"; tag = \"t\"; contents = [ pkgs.hello ]; fromImage = $1; }")" | jq -c '[.[0].layers[].digest]'; }
expected=$(digests "$archive")
for kind in base.tar base.tar.gz base.tar.zst base.tar.xz layout oci.tar dir by-skopeo.tar by-docker.tar; do
  same "$kind $(digests "$work/$kind")" "$kind $expected"
done

# One of several images is selected by name, by tag and by platform.
several=$(build 'dockerTools.mergeImages (map (tag: dockerTools.buildImage { inherit tag; name = "several"; config.Env = [ "TAG=${tag}" ]; }) [ "one" "two" ]
  ++ [ (dockerTools.buildImage { name = "other"; tag = "one"; config.Env = [ "TAG=other" ]; }) ])')
chosen() { "$strata" inspect --config "$(build "dockerTools.buildImage { name = \"x\"; tag = \"t\"; fromImage = $several; $1 }")" | jq -r '.config.Env[0]'; }
same "$(chosen 'fromImageName = "several"; fromImageTag = "two";')" TAG=two
same "$(chosen 'fromImageName = "other";')" TAG=other
same "$(chosen 'fromImageTag = "two";')" TAG=two
build_fails "dockerTools.buildImage { name = \"x\"; fromImage = $several; fromImageName = \"several\"; }" \
  "argument fromImage: " "there are several images; choose one by its tag; found several:one"
build_fails "dockerTools.buildImage { name = \"x\"; fromImage = $several; fromImageTag = \"three\"; }" "no image is named three; found several:one"
platforms=$(build 'let image = architecture: ociImageManifest { extraConfig = { inherit architecture; config.Env = [ "FOR=${architecture}" ]; };
    layers = [ (ociLayerTar { files = [ { source = pkgs.hello; destination = "/"; } ]; }) ]; };
  in ociImageLayout { manifests = [ (image "amd64") (image "arm64") ]; }')
path=$(build "dockerTools.buildLayeredImage { name = \"x\"; tag = \"t\"; fromImage = $platforms; architecture = \"arm64\"; }")
same "$("$strata" inspect --config "$path" | jq -r '.architecture + " " + .config.Env[0]')" "arm64 FOR=arm64"

# Links to directories become directories, unless keepContentsDirlinks is set.
linked='(pkgs.runCommand "linked" { } "mkdir -p $out/real; echo x > $out/real/file; ln -s real $out/link")'
for keep in false true; do
  path=$(build "dockerTools.buildImage { name = \"x\"; compressor = \"none\"; copyToRoot = [ $linked ]; keepContentsDirlinks = $keep; }")
  tar -xOf "$path" "$(tar -xOf "$path" manifest.json | jq -r '.[0].Layers[0]')" | tar -tvPf - >"$work/listing"
  case $keep in
    false) grep -qE ' /link/file$' "$work/listing" || { cat "$work/listing"; fail "the link is not a directory"; } ;;
    true) grep -qE ' /link -> real$' "$work/listing" || { cat "$work/listing"; fail "the link is gone"; } ;;
  esac
done

# Store paths in the base are not added again, for every way of making the base. Store paths that the base has at
# another location are added.
for base in '(dockerTools.buildImage { name = "b"; copyToRoot = [ pkgs.busybox ]; config.Env = [ "A=${pkgs.hello}" ]; })' \
  '(makeContainerImage { layers = [ pkgs.hello ]; })' '(buildImage { name = "b"; config.Env = [ "A=${pkgs.hello}" ]; copyToRoot = [ pkgs.busybox ]; })'; do
  path=$(build "(dockerTools.buildLayeredImage { name = \"x\"; tag = \"t\"; fromImage = $base; contents = [ pkgs.hello ]; }).recipe")
  same "$(jq "[.layers[].paths // [] | .[].path | select(. == \"$(build pkgs.hello)\")] | length" "$path/image.json")" 1
done
path=$(build 'dockerTools.buildLayeredImage { name = "moved"; tag = "t"; fromImage = buildImage { name = "b"; copyToRoot = [ pkgs.hello ]; }; contents = [ pkgs.hello ]; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
load <"$path" >/dev/null
same "$(run moved:t)" "Hello, world!"
docker rmi moved:t >/dev/null

# A Nix database of the image and its base: store paths of the base are included, copied ones are not. For a recipe the
# paths are recorded; for an archive they are read from its database.
nix='Env = [ "PATH=/bin" "NIX_CONFIG=build-users-group =" "HOME=/" "USER=root" ]; Entrypoint = [ "sh" "-c" ]'
lowest="(dockerTools.buildLayeredImageWithNixDb { name = \"lowest\"; tag = \"t\"; contents = [ pkgs.nix pkgs.bash pkgs.coreutils ]; config = { $nix; }; })"
middle() { echo "(dockerTools.buildLayeredImageWithNixDb { name = \"middle\"; tag = \"t\"; fromImage = $1; inheritConfig = true; contents = [ pkgs.jq ]; })"; }
says="config.Cmd = [ ''nix-store --verify --check-contents >/log 2>&1 && echo verified || cat /log
    [[ \$(ls -d /nix/store/*-*) == \$(nix --extra-experimental-features nix-command path-info --all | sort) ]] && echo exact
    ls -d /nix/store/*-hello-* 2>/dev/null || echo relocated'' ];"
moved="(buildImage { name = \"moved\"; tag = \"t\"; copyToRoot = [ (pkgs.symlinkJoin { name = \"root\"; paths = [ pkgs.nix pkgs.bash pkgs.coreutils ]; }) ]; config = { $nix; }; })"
for base in "$(middle "$lowest")" "\"\${$(middle "\"\${$lowest}\"")}\"" "$moved"; do
  for image in "dockerTools.buildImageWithNixDb { name = \"highest\"; tag = \"t\"; fromImage = $base; inheritConfig = true; copyToRoot = [ pkgs.hello ]; $says }" \
    "buildImage { name = \"highest\"; tag = \"t\"; fromImage = $base; inheritConfig = true; initializeNixDatabase = true; copyToRoot = [ pkgs.hello ]; $says }"; do
    path=$(build "$image")
    "$strata" copy "$path" docker-daemon:highest:t --quiet >/dev/null
    same "$(run highest:t)" $'verified\nexact\nrelocated'
    docker rmi highest:t >/dev/null
  done
done
