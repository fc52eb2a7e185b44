{
  description = "OCI container images from Nix closures";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    let
      # Other systems use lib.mkLib or the overlay: nixpkgs need not have them.
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      # A system's packages are looked at only when something of that system is asked for.
      forAll =
        function:
        builtins.listToAttrs (
          map (system: {
            name = system;
            value = function system nixpkgs.legacyPackages.${system};
          }) systems
        );
      # What goes into images: Linux on every system.
      linux = pkgs: if pkgs.stdenv.hostPlatform.isLinux then pkgs else pkgs.pkgsLinux;
    in
    {
      # The library over any package set: `mkLib pkgs`, or `mkLib pkgs host` where the programs that copy images run on
      # another machine than the one that builds them.
      lib.mkLib =
        pkgs:
        import ./nix { inherit pkgs; }
        // {
          __functor = _: host: import ./nix { inherit pkgs host; };
        };

      legacyPackages = forAll (
        _: pkgs:
        import ./nix {
          pkgs = linux pkgs;
          host = pkgs;
        }
      );

      packages = forAll (
        system: pkgs:
        let
          library = self.legacyPackages.${system};
        in
        rec {
          default = strata;
          strata = import ./nix/strata.nix pkgs;
          image = import ./examples/hello.nix {
            pkgs = linux pkgs;
            strata = library;
          };
          # Jobs as Makes has them: `nix run .#m -- . /example`.
          inherit (library) m;
          # Shaped as nix2container's, so that a flake changes one input.
          nix2container = strata // library.nix2container;
          inherit (library.nix2container) nix2container-bin skopeo-nix2container;
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
            pkgs = linux pkgs;
            strata = self.legacyPackages.${system};
          };
          verified = pkgs.runCommand "verified" { } ''
            ${packages.strata}/bin/strata verify ${packages.image.recipe}/image.json > $out
          '';
        }
      );

      devShells = forAll (
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

      formatter = forAll (_: pkgs: pkgs.nixfmt-tree);

      templates = rec {
        default = makes;
        makes = {
          path = ./examples/makes;
          description = "Container images as jobs of a Makes project: m . /example";
        };
      };

      # `pkgs.strata` is the package, and has the library's functions: pkgs.strata.buildImage.
      overlays.default = final: _: {
        strata = final.callPackage ./nix/package.nix { } // import ./nix { pkgs = final; };
      };
    };
}
