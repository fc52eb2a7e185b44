# devenv's module for containers (src/modules/containers.nix), evaluated as its top-level module does, with strata as the input
# `nix2container`.
{
  root,
  lib,
  devenv,
}:
let
  pkgs = import ./packages.nix { inherit root lib; };
  flake = (import (root + "/flake.nix")).outputs {
    self = flake;
    nixpkgs.legacyPackages.${pkgs.system} = pkgs;
  };
  inherit (pkgs.lib) mkOption types;
  any = mkOption { type = types.anything; };
  # The options of devenv's other modules that this one reads.
  others = {
    options = {
      assertions = any;
      env = any;
      lib = any;
      name = any;
      outputs = any;
      packages = any;
      process = any;
      processes = any;
      procfileScript = any;
      shell = any;
      tasks = any;
      devenv = any;
    };
    config = {
      name = "project";
      env.GREETING = "hello from devenv";
      shell = pkgs.bash;
      procfileScript = pkgs.writeShellScript "processes" "true";
      lib.getInputs = _: {
        nix2container = flake;
        # (rrbutani/nix-mk-shell-bin)
        mk-shell-bin.lib.mkShellBin = _: {
          envScript = pkgs.writeText "env" "export FROM_SHELL=1";
        };
      };
    };
  };
  evaluated = pkgs.lib.evalModules {
    specialArgs = {
      inherit pkgs;
      self = pkgs.writeTextDir "project/file" "contents\n";
    };
    modules = [
      (devenv + "/src/modules/containers.nix")
      others
      {
        containers.app = {
          name = "app";
          version = "v1";
          startupCommand = "echo $GREETING $FROM_SHELL; cat project/file; id -u";
        };
      }
    ];
  };
in
evaluated.config.containers.app
