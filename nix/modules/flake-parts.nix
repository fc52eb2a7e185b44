# A module for flake-parts:
#
#   perSystem.strata.images.NAME = { config.Cmd = [ … ]; };
#
# gives `packages.NAME`, the image; an app per copy program, `nix run .#NAME-copy-to-registry`; and `checks.NAME-verified`, which
# hashes the layers again. The library is the module argument `strata` of perSystem.
{ mkLib, programOf }:
{
  lib,
  flake-parts-lib,
  ...
}:
let
  inherit (lib) mkOption types;
  # Apps, by the attribute of an image that is their program.
  programs = {
    copy-to = "copyTo";
    copy-to-registry = "copyToRegistry";
    copy-to-docker-daemon = "copyToDockerDaemon";
    copy-to-podman = "copyToPodman";
    copy-to-containerd = "copyToContainerd";
  };
in
{
  options.perSystem = flake-parts-lib.mkPerSystemOption (
    { config, pkgs, ... }:
    let
      cfg = config.strata;
      images = lib.mapAttrs (name: arguments: cfg.lib.buildImage ({ inherit name; } // arguments)) cfg.images;
      appsOf =
        image:
        lib.mapAttrs' (
          suffix: attribute:
          lib.nameValuePair "${image}-${suffix}" {
            type = "app";
            program = "${images.${image}.${attribute}}/bin/${suffix}";
          }
        ) programs;
      verified =
        name: image:
        lib.nameValuePair "${name}-verified" (
          pkgs.runCommand "${name}-verified" { } "${programOf pkgs}/bin/strata verify ${image} > $out"
        );
    in
    {
      options.strata = {
        pkgs = mkOption {
          type = types.raw;
          default = import ../linux.nix pkgs;
          defaultText = "pkgs, or pkgs.pkgsLinux on darwin";
          description = "The packages of the images.";
        };
        lib = mkOption {
          type = types.raw;
          readOnly = true;
          default = mkLib {
            inherit (cfg) pkgs;
            hostPkgs = pkgs;
          };
          defaultText = "the library over strata.pkgs";
          description = "The functions of strata, over `strata.pkgs`.";
        };
        images = mkOption {
          type = types.lazyAttrsOf (types.lazyAttrsOf types.raw);
          default = { };
          description = "Images by name: arguments of buildImage. The name is the image's, unless `name` is given.";
          example = lib.literalExpression ''{ hello.config.Cmd = [ "''${pkgs.hello}/bin/hello" ]; }'';
        };
      };
      config = {
        _module.args.strata = cfg.lib;
        packages = images;
        apps = lib.concatMapAttrs (name: _: appsOf name) images;
        checks = lib.mapAttrs' verified images;
      };
    }
  );
}
