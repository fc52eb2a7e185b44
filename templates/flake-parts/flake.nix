{
  description = "A container image in a flake of flake-parts";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
    flake-parts.url = "github:hercules-ci/flake-parts";
    flake-parts.inputs.nixpkgs-lib.follows = "nixpkgs";
    strata.url = "github:strata-images/strata";
    strata.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    inputs:
    inputs.flake-parts.lib.mkFlake { inherit inputs; } {
      imports = [ inputs.strata.flakeModules.default ];
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      perSystem =
        { pkgs, ... }:
        {
          # nix build .#app, nix run .#app-copy-to-docker-daemon, nix flake check
          strata.images.app = {
            tag = "latest";
            config.Cmd = [ "${pkgs.hello}/bin/hello" ];
          };
        };
    };
}
