{
  description = "OCI container images from Nix closures";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    let
      withPassthru = import ./nix/with-passthru.nix;
      linux = import ./nix/linux.nix;
      # The library, over the packages of images and those of the machine that runs the copy programs.
      mkLib = import ./nix;

      # The outputs of these systems. A system's packages are evaluated only for its own outputs.
      forSystems =
        systems:
        let
          forAll =
            function:
            builtins.listToAttrs (
              map (system: {
                name = system;
                value = function system nixpkgs.legacyPackages.${system};
              }) systems
            );
          legacyPackages = forAll (_: pkgs: mkLib { inherit pkgs; hostPkgs = pkgs; });
          packages = forAll (
            system: pkgs:
            let
              library = legacyPackages.${system};
            in
            rec {
              default = strata;
              strata = import ./nix/strata.nix pkgs;
              image = import ./examples/hello.nix {
                pkgs = linux pkgs;
                strata = library;
              };
              # Jobs of Makes projects: `nix run .#m -- . /example`.
              inherit (library) m;
              # The package and the functions of nix2container's flake, under its name.
              nix2container = withPassthru strata library.nix2container;
              inherit (library.nix2container) nix2container-bin skopeo-nix2container;
            }
          );
        in
        {
          inherit legacyPackages packages;

          # The checks that need no engine; dev/test runs the others. Cargo's tests run in the build of the package.
          checks = forAll (
            system: pkgs:
            let
              library = {
                pkgs = linux pkgs;
                strata = legacyPackages.${system};
              };
              wrong = import ./tests/nix/evaluation.nix library;
            in
            {
              inherit (packages.${system}) strata image m;
              layout = import ./examples/nginx-layout.nix library;
              # Images whose programs are started and tested.
              nginx = import ./examples/nginx.nix library;
              postgres = import ./examples/postgres.nix library;
              tested = import ./examples/check-image.nix library;
              verified = pkgs.runCommand "verified" { } ''
                ${packages.${system}.strata}/bin/strata verify ${packages.${system}.image.recipe}/image.json > $out
              '';
              evaluated =
                if wrong == [ ] then
                  pkgs.runCommand "evaluated" { } "touch $out"
                else
                  throw "strata: these properties of tests/nix/evaluation.nix do not hold: ${builtins.concatStringsSep "; " wrong}";
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
        };
      systems = import ./nix/systems.nix;
      # The systems that the nixpkgs of this flake has. nixpkgs throws for x86_64-darwin from 26.11 on.
      supported = builtins.filter (
        system:
        nixpkgs.legacyPackages ? ${system}
        && (system != "x86_64-darwin" || builtins.compareVersions (nixpkgs.lib.trivial.release or "26.11") "26.11" < 0)
      ) systems;
    in
    forSystems supported
    // {
      lib = { inherit mkLib forSystems systems; };

      templates = {
        default = {
          path = ./templates/default;
          description = "A container image, its check, and programs that copy it";
        };
        flake-parts = {
          path = ./templates/flake-parts;
          description = "A container image in a flake of flake-parts";
        };
        github-actions = {
          path = ./templates/github-actions;
          description = "A container image that GitHub Actions pushes, with a binary cache";
        };
        gitlab-ci = {
          path = ./templates/gitlab-ci;
          description = "A container image that GitLab CI pushes, with a binary cache";
        };
        makes = {
          path = ./examples/makes;
          description = "Container images as jobs of a Makes project: m . /example";
        };
        multi-platform = {
          path = ./templates/multi-platform;
          description = "A container image for several platforms, under one tag";
        };
        nixos = {
          path = ./templates/nixos;
          description = "A container on NixOS, whose image is loaded from the store";
        };
      };

      # perSystem.strata.images.NAME = { … };
      flakeModules.default = import ./nix/modules/flake-parts.nix {
        inherit mkLib;
        programOf = import ./nix/strata.nix;
      };
      # virtualisation.oci-containers.containers.NAME.image = an image;
      nixosModules.default.imports = [ ./nix/modules/nixos.nix ];

      # `pkgs.strata` is the package, with the library's functions in its passthru: pkgs.strata.buildImage.
      overlays.default = final: _: {
        strata = withPassthru (final.callPackage ./nix/package/package.nix { }) (mkLib { pkgs = final; });
      };
    };
}
