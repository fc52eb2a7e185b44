# The library: a package set in, every public function out. One function a file, named as its attribute.
{ pkgs }:
let
  toolchain = import ./toolchain.nix { inherit pkgs; };
  check = import ./check.nix;
  names = import ./name.nix;
  derive = import ./derive.nix { inherit toolchain; };
  configFile = import ./config.nix { inherit derive; };
  grouping = import ./grouping.nix { inherit check; };

  public =
    name:
    import ./arguments.nix name (
      import (./. + "/${name}.nix") {
        inherit
          toolchain
          check
          names
          derive
          configFile
          grouping
          ;
      }
    );
in
builtins.listToAttrs (
  map
    (name: {
      inherit name;
      value = public name;
    })
    [
      "buildImage"
      "buildLayer"
      "makeContainerImage"
    ]
)
