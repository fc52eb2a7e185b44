# Every kind of layout against the OCI image specification's own JSON schemas.
. "$root/tests/lib.sh"
need_command go
export GOFLAGS=-mod=mod
online go mod download github.com/opencontainers/image-spec@v1.1.1 2>"$work/log" || skip "the schemas cannot be had: $(tail -n 1 "$work/log")"
schemas=$(go env GOMODCACHE)/github.com/opencontainers/image-spec@v1.1.1/schema
valid() { same "$(/usr/bin/python3 "$root/tests/peers/schemas.py" "$schemas" "$1")" "$2 images are as the schemas say"; }

valid "$(build "import $root/examples/nginx-layout.nix { inherit pkgs strata; }")" 1
image=$(build 'buildImage { name = "x"; annotations.a = "b"; labels.c = "d"; config = { Cmd = [ "${pkgs.hello}/bin/hello" ]; Env = [ "A=1" ];
  ExposedPorts."80/tcp" = { }; Volumes."/data" = { }; User = "1:1"; WorkingDir = "/"; StopSignal = "SIGINT"; }; }')
"$strata" copy "$image" "oci:$work/layout:t" --quiet >/dev/null
valid "$work/layout" 1
archive=$(build 'makeContainerImage { layers = [ pkgs.hello ]; }')
mkdir "$work/archive"
tar -xzf "$archive" -C "$work/archive"
valid "$work/archive" 1
platforms=$(build 'ociImageIndex {
  packages = [ pkgs (pkgs // { stdenv.hostPlatform = { system = "aarch64-linux"; go.GOARCH = "arm64"; }; })
    (pkgs // { stdenv.hostPlatform = { system = "armv7l-linux"; go = { GOARCH = "arm"; GOARM = "7"; }; }; }) ];
  image = { pkgs, strata }: { layers = [ (strata.buildLayer { deps = [ pkgs.hello ]; }) ]; tag = "all"; extraConfig.config.Cmd = [ strata.platform.architecture ]; }; }')
valid "$platforms" 3
