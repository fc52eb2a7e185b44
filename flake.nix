{
  description = "OCI container images from Nix closures";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      forAll =
        function:
        builtins.listToAttrs (
          map
            (name: {
              inherit name;
              value = function nixpkgs.legacyPackages.${name} self.legacyPackages.${name};
            })
            (builtins.filter (system: nixpkgs.legacyPackages ? ${system}) systems)
        );
    in
    {
      # The library over any package set.
      lib.mkLib = pkgs: import ./nix { inherit pkgs; };

      legacyPackages = forAll (pkgs: _: self.lib.mkLib pkgs);

      packages = forAll (
        pkgs: library: rec {
          default = strata;
          strata = pkgs.strata or (pkgs.callPackage ./nix/package.nix { });
          image = import ./examples/hello.nix {
            inherit pkgs;
            strata = library;
          };
          # Shaped as nix2container's, so that a flake changes one input.
          nix2container = strata // {
            inherit (library)
              buildImage
              buildLayer
              pullImage
              pullImageFromManifest
              ;
          };
        }
      );

      overlays.default = final: _: {
        strata = final.callPackage ./nix/package.nix { };
        strata-builder = final.callPackage ./nix/package.nix { network = false; };
      };
    };
}
