# The library: a package set in, every public function out. One function a file, named as its attribute.
{ pkgs }:
let
  toolchain = import ./toolchain.nix { inherit pkgs; };
  check = import ./check.nix;
  names = import ./name.nix;
  derive = import ./derive.nix { inherit toolchain; };
  configFile = import ./config.nix { inherit derive; };
  copyPrograms = import ./copy-programs.nix { inherit derive toolchain; };
  stack = import ./stack.nix { inherit check; };
  grouping = import ./grouping.nix { inherit check stack; };

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
          copyPrograms
          grouping
          stack
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
      "ociImageConfig"
      "ociImageLayout"
      "ociImageManifest"
      "ociLayerTar"
    ]
)
