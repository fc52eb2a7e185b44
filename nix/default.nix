# The library: a package set in, every public function out. One function a file, named as its attribute.
{ pkgs }:
let
  libraryOver = pkgs: import ./. { inherit pkgs; };
  toolchain = import ./toolchain.nix { inherit pkgs; };
  check = import ./check.nix;
  names = import ./name.nix;
  derive = import ./derive.nix { inherit toolchain; };
  configFile = import ./config.nix { inherit derive; };
  program = import ./program.nix { inherit derive toolchain; };
  copyPrograms = import ./copy-programs.nix { inherit program; };
  stack = import ./stack.nix { inherit check; };
  layerings = import ./layering.nix { inherit check; };
  guards = import ./guards.nix { inherit check; };
  base = import ./base.nix { inherit derive; };
  grouping = import ./grouping.nix { inherit check layerings stack; };

  checked = import ./arguments.nix;
  archive = import ./archive.nix {
    inherit
      derive
      base
      check
      configFile
      guards
      layerings
      names
      program
      toolchain
      ;
  };
  modes = import ./modes.nix { inherit archive names; };
  dockerTools = import ./dockerTools.nix {
    inherit
      modes
      check
      checked
      derive
      toolchain
      ;
  };

  public =
    name:
    let
      function = import (./. + "/${name}.nix") {
        inherit
          modes
          toolchain
          base
          check
          names
          derive
          configFile
          copyPrograms
          grouping
          guards
          libraryOver
          layerings
          program
          stack
          ;
      };
    in
    # makeContainerImage takes what either of two functions takes.
    checked name (
      if name == "makeContainerImage" then modes.makesArguments else builtins.functionArgs function
    ) function;
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
      "ociImageIndex"
      "ociImageLayout"
      "ociImageManifest"
      "ociLayerTar"
      "pullImage"
      "pullImageFromManifest"
    ]
)
// {
  inherit dockerTools;
  # The machine that the package set is for, as `extraConfig` of ociImageManifest takes it.
  platform = {
    architecture = toolchain.arch;
  }
  // (if toolchain.variant == null then { } else { inherit (toolchain) variant; });
}
