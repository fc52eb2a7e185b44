# passthru.tests of the package: nixpkgs' CI builds them for every change of it.
{
  hello,
  pkgs,
  runCommand,
  strata,
}:
let
  library = import ./. {
    pkgs = pkgs // {
      inherit strata;
      buildPackages = pkgs.buildPackages // {
        inherit strata;
      };
    };
  };
  image = library.buildImage {
    name = "hello";
    config.Cmd = [ "${hello}/bin/hello" ];
  };
in
{
  version = runCommand "strata-version" { nativeBuildInputs = [ strata ]; } ''
    [[ "$(strata --version)" == "strata ${strata.version}" ]]
    touch "$out"
  '';
  # An image whose layers are what its recipe says.
  image = runCommand "strata-image" { nativeBuildInputs = [ strata ]; } ''
    strata verify ${image}
    touch "$out"
  '';
}
