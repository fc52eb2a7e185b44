{
  description = "A container image for several platforms";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
    strata.url = "github:strata-images/strata";
    strata.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { nixpkgs, strata, ... }:
    let
      system = "x86_64-linux";
      images = strata.lib.mkLib { pkgs = nixpkgs.legacyPackages.${system}; };
    in
    {
      # nix run github:strata-images/strata -- copy --all result docker://HOST/NAME:TAG
      #
      # The packages of another system need a builder for it. `pkgsCross.aarch64-multiplatform` compiles them here.
      packages.${system}.default = images.ociImageIndex {
        packages = map (system: nixpkgs.legacyPackages.${system}) [
          "x86_64-linux"
          "aarch64-linux"
        ];
        image =
          { pkgs, strata }:
          {
            layers = [ (strata.buildLayer { deps = [ pkgs.hello ]; }) ];
            extraConfig.config.Cmd = [ "${pkgs.hello}/bin/hello" ];
          };
      };
    };
}
