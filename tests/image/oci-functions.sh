# The four ociImage* functions: documented outputs, platforms, shared blobs, mistakes.
. "$root/tests/lib.sh"
need_command jq

source='(pkgs.runCommand "source" { } "mkdir -p $out/etc/sub $out/bin; echo root:x:0:0:\\\"r\\\" > $out/etc/passwd; echo root:x:0: > $out/etc/group;
  ln -s etc/passwd $out/link; ln -s etc $out/directory-link; ln -s . $out/self; ln -s /nowhere $out/dangling; echo x > $out/etc/sub/file")'
for compression in gzip zstd none ''; do
  layer=$(build "ociLayerTar { files = [ { source = $source; destination = \"/\"; } ]; compression = \"$compression\"; }")
  case $compression in gzip) suffix=.gz ;; zstd) suffix=.zst ;; *) suffix= ;; esac
  digest=$(sha256sum <"$layer/layer.tar$suffix" | cut -d ' ' -f 1)
  same "$(jq -r .digest "$layer/media-descriptor.json")" "sha256:$digest"
  same "$(jq -r .size "$layer/media-descriptor.json")" "$(stat -Lc %s "$layer/layer.tar$suffix")"
  [[ -f $layer/blobs/sha256/$digest ]] || fail "the blob is missing"
  same "$(jq -r .diff_id "$layer/layers-cache.json")" "$(<"$layer/DiffID")"
  same "$(jq -r .passwd "$layer/layers-cache.json")" 'root:x:0:0:"r"'
  same "$(jq -r .group "$layer/layers-cache.json")" root:x:0:
  case $compression in gzip) unpack=(gzip -dc) ;; zstd) unpack=(zstd -qdc) ;; *) unpack=(cat) ;; esac
  if command -v "${unpack[0]}" >/dev/null; then
    same "sha256:$("${unpack[@]}" <"$layer/layer.tar$suffix" | sha256sum | cut -d ' ' -f 1)" "$(<"$layer/DiffID")"
  fi
done
tar -tvPf "$layer/layer.tar" >"$work/listing"
listed() { grep -qE -- "$1" "$work/listing" || { cat "$work/listing"; fail "not in the layer: $1"; }; }
listed '^lrwxrwxrwx root/root +0 1970-01-01 00:00 /link -> etc/passwd$'
listed '^d.* /directory-link$'
listed '^-.* /directory-link/sub/file$'
listed '^l.* /self -> \.$'
listed '^l.* /dangling -> /nowhere$'

# Modes, owners, and files from the flake's source.
echo text >"$work/file"
layer=$(build "ociLayerTar { compression = \"\"; files = [ { source = $work/file; destination = \"/a/b\"; mode = \"4711\"; uid = 7; gid = 8; } ]; }")
tar -tvPf "$layer/layer.tar" --numeric-owner | grep -E '^-rws--x--x 7/8 .* /a/b$' >/dev/null || fail "mode and owner"

# Two platforms in one layout: the shared layer is one blob, and evaluation builds nothing.
both='let
  layer = ociLayerTar { files = [ { source = pkgs.writeText "shared" "shared"; destination = "/shared"; } ]; };
  image = architecture: variant: ociImageManifest {
    layers = [ layer layer ];
    tags = [ "one" "two" ];
    extraConfig = { inherit architecture; config.Cmd = [ architecture ]; } // variant;
  };
in ociImageLayout { manifests = [ (image "amd64" { }) (image "arm64" { variant = "v8"; }) ]; link = LINK; extraIndex.annotations.a = "b"; }'
nix-instantiate --option allow-import-from-derivation false --expr "$(expression "${both/LINK/false}")" >/dev/null 2>&1
layout=$(build "${both/LINK/false}")
linked=$(build "${both/LINK/true}")
for result in "$layout" "$linked"; do
  "$strata" verify "$result" | grep -q ' 0 problems$' || fail "verify finds problems in $result"
  same "$(find "$result/blobs/sha256" -mindepth 1 | wc -l)" 5
done
same "$(find "$layout" -type l | wc -l)" 0
same "$(find "$linked/blobs" -type f | wc -l)" 0
same "$(jq -c '[.manifests[].platform]' "$layout/index.json" | sed 's/"//g')" \
  "[{architecture:amd64,os:linux},{architecture:amd64,os:linux},{architecture:arm64,os:linux,variant:v8},{architecture:arm64,os:linux,variant:v8}]"
same "$(jq -r '.annotations.a' "$layout/index.json")" b
if command -v skopeo >/dev/null; then
  single=$(build "$(sed 's/tags = .*/tag = architecture;/' <<<"${both/LINK/false}")")
  for architecture in amd64 arm64; do
    same "$(skopeo inspect --config "oci:$single:$architecture" | jq -r '.config.Cmd[0]')" "$architecture"
  done
fi

# Layers of ociLayerTar in buildImage. The example has the reverse.
image=$(build 'buildImage { name = "mixed"; layers = [ (ociLayerTar { files = [ { source = pkgs.hello; } ]; closure = true; }) ];
  config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
same "$("$strata" inspect --json "$image" | jq '.[0].layers | length')" 1
if [[ ${docker-} ]]; then
  reference=$("$strata" stream "$image" | load)
  same "$(run "$reference")" "Hello, world!"
  docker rmi "$reference" >/dev/null
fi

config=$(build 'ociImageConfig { extraConfig = { created = "2026-01-02T03:04:05+00:00"; author = "me"; config.Env = [ "A=<&>" ]; }; }')
same "$(jq -c . "$config/platform.json")" '{"architecture":"amd64","os":"linux"}'
same "$(jq -r .created "$config/image-config.json")" 2026-01-02T03:04:05Z
same "$(jq -r .digest "$config/media-descriptor.json")" "sha256:$(sha256sum <"$config/image-config.json" | cut -d ' ' -f 1)"

build_fails 'ociImageConfig { extraConfig.config.Entrypiont = [ ]; }' "config.Entrypiont is unknown"
build_fails 'ociImageConfig { extraConfig.config.Env.A = "1"; }' "config.Env must be a list, not an attribute set"
build_fails 'ociImageConfig { extraConfig.config.ExposedPorts = [ "80" ]; }' "config.ExposedPorts must be an attribute set, not a list"
build_fails 'ociImageConfig { extraConfig.Config = { }; }' "argument extraConfig: Config is unknown; did you mean config?"
build_fails 'ociImageConfig { extraConfig.os = 1; }' "argument extraConfig: os must be a string, not 1"
build_fails 'ociImageManifest { extraManifest.annotation.a = "b"; }' "argument extraManifest: annotation is unknown; did you mean annotations?"
# Fields of the document may be repeated, but not changed.
layer='layers = [ (ociLayerTar { files = [ { source = pkgs.hello; destination = "/"; } ]; }) ];'
plain=$(build "ociImageManifest { $layer }")
repeated=$(build "ociImageManifest { $layer extraManifest = { schemaVersion = 2; mediaType = \"application/vnd.oci.image.manifest.v1+json\"; }; }")
cmp "$plain/image-manifest.json" "$repeated/image-manifest.json"
layout=$(build "ociImageLayout { manifests = [ (ociImageManifest { $layer }) ]; extraIndex = { schemaVersion = 2; mediaType = \"application/vnd.oci.image.index.v1+json\"; }; }")
same "$(jq -c '[.schemaVersion, .mediaType]' "$layout/index.json")" '[2,"application/vnd.oci.image.index.v1+json"]'
build_fails 'ociImageManifest { extraManifest.schemaVersion = 1; }' "argument extraManifest: schemaVersion is 1, but the document has 2; omit it"
build_fails 'ociImageManifest { extraManifest.mediaType = "application/vnd.docker.distribution.manifest.v2+json"; }' \
  'argument extraManifest: mediaType is "application/vnd.docker.distribution.manifest.v2+json", but the document has "application/vnd.oci.image.manifest.v1+json"; omit it'
build_fails 'ociImageLayout { manifests = [ ]; extraIndex.mediaType = "x"; }' 'argument extraIndex: mediaType is "x", but the document has'
build_fails 'ociImageManifest { extraManifest.layers = [ ]; }' "argument extraManifest: layers comes from the image itself"
build_fails 'ociLayerTar { compression = "lz4"; }' "argument compression of ociLayerTar must be gzip, zstd, zstd:chunked, none"
build_fails 'ociLayerTar { files = [ { source = pkgs.hello; target = "/"; } ]; }' "has no attribute target"
build_fails 'ociLayerTar { files = [ { source = pkgs.hello; destination = "opt"; } ]; }' 'has the relative destination "opt"; write "/opt"'
build_fails 'ociLayerTar { files = [ { source = pkgs.hello; destination = "/"; } { source = pkgs.writeText "a" "b"; destination = "/bin"; } ]; }' \
  "two sources want /bin"
# Of two files with the same destination, the last one is used.
two=$(build 'ociLayerTar { compression = "none"; files = map (text: { source = pkgs.writeText "passwd" text; destination = "/etc/passwd"; }) [ "first" "last" ]; }')
same "$(tar -xOPf "$two/layer.tar" /etc/passwd) $(jq -r .passwd "$two/layers-cache.json")" "last last"
build_fails 'ociImageConfig { layers = [ pkgs.hello ]; }' "takes results of buildLayer and ociLayerTar"
