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
      # For each system whose packages have `needed`.
      forAllWith =
        needed: function:
        builtins.listToAttrs (
          map
            (name: {
              inherit name;
              value = function name nixpkgs.legacyPackages.${name};
            })
            (builtins.filter (name: (nixpkgs.legacyPackages.${name} or { }) ? ${needed}) systems)
        );
      forAll = forAllWith "hello";
    in
    {
      # The library over any package set.
      lib.mkLib = pkgs: import ./nix { inherit pkgs; };

      legacyPackages = forAll (_: self.lib.mkLib);

      packages = forAll (
        system: pkgs:
        let
          library = self.legacyPackages.${system};
        in
        rec {
          default = strata;
          strata = if pkgs ? strata && pkgs.strata ? isStrata then pkgs.strata else pkgs.callPackage ./nix/package.nix { };
          image = import ./examples/hello.nix {
            inherit pkgs;
            strata = library;
          };
          # Jobs as Makes has them: `nix run .#m -- . /example`.
          inherit (library) m;
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

      # What can be built without docker; dev/test checks the rest.
      checks = forAll (
        system: pkgs:
        let
          packages = self.packages.${system};
        in
        {
          inherit (packages) strata image m;
          layout = import ./examples/nginx-layout.nix {
            inherit pkgs;
            strata = self.legacyPackages.${system};
          };
          verified = pkgs.runCommand "verified" { } ''
            ${packages.strata}/bin/strata verify ${packages.image.recipe}/image.json > $out
          '';
        }
      );

      devShells = forAllWith "mkShell" (
        _: pkgs: {
          default = pkgs.mkShell {
            packages = [
              pkgs.cargo
              pkgs.clippy
              pkgs.jq
              pkgs.rustc
              pkgs.rustfmt
              pkgs.skopeo
              pkgs.umoci
            ];
          };
        }
      );

      formatter = forAllWith "nixfmt-tree" (_: pkgs: pkgs.nixfmt-tree);

      templates = rec {
        default = makes;
        makes = {
          path = ./examples/makes;
          description = "Container images as jobs of a Makes project: m . /example";
        };
      };

      overlays.default = final: _: { strata = final.callPackage ./nix/package.nix { }; };
    };
}
