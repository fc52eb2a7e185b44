# A web service written in Go for two platforms, compiled on one machine: Go compiles for other platforms without their packages.
# `strata copy --all` pushes both images under one tag.
{ pkgs, strata }:
let
  service =
    goarch:
    pkgs.runCommand "service-${goarch}" { nativeBuildInputs = [ pkgs.go ]; } ''
      export HOME=$TMPDIR CGO_ENABLED=0 GOARCH=${goarch}
      go build -trimpath -ldflags=-s -o $out/bin/service ${./go-service.go}
    '';
  image =
    arch:
    strata.buildImage {
      name = "service";
      tag = "latest";
      inherit arch;
      config = {
        User = "65532";
        Entrypoint = [ "${service arch}/bin/service" ];
        ExposedPorts."8080/tcp" = { };
      };
    };
  images = {
    x86_64-linux = image "amd64";
    aarch64-linux = image "arm64";
  };
in
strata.buildIndex { inherit images; }
// {
  tests.service = strata.checkImage {
    image = images.${pkgs.stdenv.hostPlatform.system};
    service = {
      ready.http = "/";
      script = "busybox wget -q -O - http://127.0.0.1:8080/ | grep 'Hello from linux'";
      packages = [ pkgs.busybox ];
    };
  };
}
