# passthru.tests of the package, which nixpkgs' CI builds for every change of the package.
{
  dockerTools,
  hello,
  runCommand,
  strata,
}:
let
  archive = dockerTools.buildImage {
    name = "hello";
    copyToRoot = hello;
  };
in
{
  version = runCommand "strata-version" { nativeBuildInputs = [ strata ]; } ''
    [[ "$(strata --version)" == "strata ${strata.version}" ]]
    touch "$out"
  '';
  # An archive, copied to an OCI layout whose blobs are hashed again.
  copy = runCommand "strata-copy" { nativeBuildInputs = [ strata ]; } ''
    strata copy --quiet docker-archive:${archive} oci:layout:latest
    strata verify layout
    touch "$out"
  '';
}
