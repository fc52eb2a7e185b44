# passthru.tests of the package, which nixpkgs' CI builds for every change of the package.
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
  # The layers of an image have the digests of its recipe.
  image = runCommand "strata-image" { nativeBuildInputs = [ strata ]; } ''
    strata verify ${image}
    touch "$out"
  '';
}
