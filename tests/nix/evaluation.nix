# Properties of the evaluation of the library over any package set. `nix flake check` and tests/nix/evaluation.sh evaluate them;
# nothing is built. The result is the list of the properties that do not hold.
{
  pkgs,
  strata,
}:
let
  inherit (strata)
    buildImage
    buildLayer
    makeContainerImage
    ociImageLayout
    ;
  throws = value: !(builtins.tryEval (builtins.seq value.drvPath true)).success;
  # Packages whose evaluation is that of `other`.
  equal = package: other: package.drvPath == other.drvPath;

  examples = builtins.listToAttrs (
    map (name: {
      name = "examples/${name}.nix evaluates";
      value =
        (import (../../examples + "/${name}.nix") { inherit pkgs strata; })
        ? drvPath;
    }) [ "check-image" "hello" "nginx" "nginx-layout" "postgres" ]
  );
  properties = examples // {
    "an unknown argument throws" = throws (buildImage {
      name = "x";
      maxLayer = 1;
    });
    "an argument of another type throws" = throws (buildImage { name = 3; });
    "a package instead of arguments throws" = throws (makeContainerImage pkgs.hello);
    "an invalid tag throws" = throws (buildImage {
      name = "x";
      tag = "UPPER/slash";
    });
    "a reference as a base image throws" = throws (buildImage {
      name = "x";
      fromImage = "alpine:3";
    });
    "a path in a package stands for the package" = equal (buildLayer {
      deps = [ "${pkgs.hello}/bin/hello" ];
    }) (buildLayer { deps = [ "${pkgs.hello}" ]; });
    "lists of packages are flattened" = equal (makeContainerImage {
      layers = [ [ pkgs.hello [ pkgs.bash ] ] ];
    }) (makeContainerImage { layers = [ pkgs.hello pkgs.bash ]; });
    "null is the default of config" = equal (buildImage {
      name = "x";
      config = null;
    }) (buildImage { name = "x"; });
    "a layout without manifests evaluates" = ociImageLayout { } ? drvPath;
    "the archives of dockerTools evaluate" =
      (strata.dockerTools.buildLayeredImage {
        name = "x";
        contents = [ pkgs.hello ];
      })
      ? drvPath;
    "an image has copy programs" = builtins.all (name: (buildImage { name = "x"; }).${name} ? drvPath) [
      "copyTo"
      "copyToDockerDaemon"
      "copyToPodman"
      "copyToRegistry"
      "detached"
      "stream"
    ];
  };
in
builtins.filter (name: !properties.${name}) (builtins.attrNames properties)
