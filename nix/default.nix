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
  scriptText = import ./script-text.nix;
  grouping = import ./grouping.nix { inherit check layerings stack; };

  checked = import ./arguments.nix;
  makes = import ./makes.nix {
    inherit scriptText;
    inherit (import ./makeSearchPaths.nix { inherit check derive; }) variables;
    makeSearchPaths = public "makeSearchPaths";
  };
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
      scriptText
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
          makes
          program
          scriptText
          stack
          ;
      };
    in
    # Some say what they take, others show it.
    if function ? takes then
      checked name function.takes function.function
    else
      checked name (builtins.functionArgs function) function;
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
      "makeDerivation"
      "makeScript"
      "makeSearchPaths"
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
  m = import ./m.nix { inherit program toolchain; };
  # The machine that the package set is for, as `extraConfig` of ociImageManifest takes it.
  platform = {
    architecture = toolchain.arch;
  }
  // (if toolchain.variant == null then { } else { inherit (toolchain) variant; });
}
