# A flake of flake-parts with strata's module, evaluated by flake-parts' own lib.nix. `flakeParts` is a checkout of
# hercules-ci/flake-parts.
{
  root,
  lib,
  flakeParts,
}:
let
  pkgs = import ./packages.nix { inherit root lib; };
  strata = (import (root + "/flake.nix")).outputs {
    self = strata;
    inherit nixpkgs;
  };
  nixpkgs = {
    _type = "flake";
    legacyPackages.${pkgs.system} = pkgs;
    inherit (pkgs) lib;
  };
  flake-parts = (import (flakeParts + "/flake.nix")).outputs {
    self = flake-parts;
    # The checkout has no file with its version.
    nixpkgs-lib.lib = pkgs.lib // {
      version = "26.05";
    };
  };
  self = {
    inputs = { inherit nixpkgs; };
    outPath = toString root;
    _type = "flake";
  };
in
flake-parts.lib.mkFlake
  {
    inputs = {
      inherit nixpkgs self;
    };
  }
  {
    imports = [ strata.flakeModules.default ];
    systems = [ pkgs.system ];
    perSystem =
      { pkgs, strata, ... }:
      {
        strata.images.hello = {
          tag = "v1";
          config.Cmd = [ "${pkgs.hello}/bin/hello" ];
        };
        # The library itself.
        packages.greeting = strata.makeContainerImage { layers = [ pkgs.hello ]; };
      };
  }
