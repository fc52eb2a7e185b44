# The expressions that tests/nix/nixpkgs.sh evaluates with a real package set: `fork` is a checkout of ekala-project/corepkgs whose pins.nix names a
# checkout of ekala-project/nix-lib.
{
  fork,
  root,
  # A copy of nix/package, changed as for a pull request to nixpkgs.
  byName,
}:
let
  # Attributes of nixpkgs that examples.nix reads and the fork lacks.
  overlay = final: prev: {
    path = fork;
    hello = final.gnugrep;
    nginx = final.curl;
    vim = final.gnused;
    mkShell =
      arguments:
      final.stdenv.mkDerivation (
        {
          name = "nix-shell";
          dontUnpack = true;
        }
        // arguments
      );
  };
  over =
    overlays: arguments:
    import fork (
      {
        system = "x86_64-linux";
        overlays = [ overlay ] ++ overlays;
      }
      // arguments
    );
  pkgs = over [ ] { };
  strata = import (root + "/nix") { inherit pkgs; };
  flake = (import (root + "/flake.nix")).outputs {
    self = flake;
    # The fork has no darwin: tests/nix/flake.sh has that.
    nixpkgs.legacyPackages.x86_64-linux = pkgs;
  };
  inFlake = over [ flake.overlays.default ] { };
  # The overlay that puts our dockerTools in the place of nixpkgs'.
  replaced = over [
    flake.overlays.default
    (final: _: { inherit (final.strata) dockerTools; })
  ] { };

  file = fork + "/build-support/docker/examples.nix";
  function = import file;
  examples = replaced.callPackage file (
    builtins.intersectAttrs (builtins.functionArgs function) replaced.dockerTools
  );
  cross =
    name:
    let
      library = import (root + "/nix") { pkgs = pkgs.pkgsCross.${name}; };
      image = library.dockerTools.buildLayeredImage {
        name = "cross";
        config.Cmd = [ "${pkgs.pkgsCross.${name}.bash}/bin/bash" ];
      };
    in
    {
      inherit (library) platform;
      inherit (image) drvPath system;
      usrBinEnv = library.dockerTools.usrBinEnv.drvPath;
    };
in
{
  package = strata.m.drvPath;
  upstream =
    let
      package = pkgs.callPackage (byName + "/package.nix") { };
    in
    {
      inherit (package) drvPath;
      src = package.src.name;
      tests = builtins.mapAttrs (_: test: test.drvPath) (
        builtins.intersectAttrs {
          copy = null;
          version = null;
        } package.tests
      );
    };
  strata = flake.packages.x86_64-linux.strata.drvPath;
  image = flake.packages.x86_64-linux.image.drvPath;
  single =
    (strata.makeContainerImage {
      layered = false;
      runAsRoot = "true";
      layers = [ pkgs.bash ];
    }).drvPath;
  recipe =
    (strata.buildImage {
      name = "x";
      layers = [ (strata.buildLayer { deps = [ pkgs.bash ]; }) ];
    }).copyToRegistry.drvPath;
  scripts =
    (strata.dockerTools.buildLayeredImage {
      name = "x";
      extraCommands = "true";
      fakeRootCommands = "true";
      enableFakechroot = true;
    }).drvPath;
  makes =
    (strata.makeScript {
      name = "x";
      entrypoint = "true";
      searchPaths.bin = [ pkgs.jq ];
    }).drvPath;
  layout =
    (strata.ociImageIndex {
      packages = [
        pkgs
        pkgs.pkgsCross.aarch64-multiplatform
      ];
      image = { pkgs, strata }: { layers = [ (strata.buildLayer { deps = [ pkgs.bash ]; }) ]; };
    }).drvPath;
  nixShell = (strata.dockerTools.buildNixShellImage { drv = pkgs.bash; }).drvPath;
  overlay = (inFlake.strata.buildImage { name = "x"; }).drvPath;
  replaced = (replaced.dockerTools.buildImage { name = "x"; }).drvPath;
  cross = builtins.listToAttrs (
    map
      (name: {
        inherit name;
        value = cross name;
      })
      [
        "aarch64-multiplatform"
        "armv7l-hf-multiplatform"
        "gnu32"
        "ppc64"
        "riscv64"
        "s390x"
      ]
  );
  # The platform of each architecture of Go's that nixpkgs has a package set for.
  platforms = builtins.listToAttrs (
    map
      (name: {
        inherit name;
        value = (import (root + "/nix") { pkgs = pkgs.pkgsCross.${name}; }).platform;
      })
      [
        "loongarch64-linux"
        "mips-linux-gnu"
        "mips64el-linux-gnuabi64"
        "mipsel-linux-gnu"
        "powernv"
        "raspberryPi"
      ]
  );
  # The name of each of nixpkgs' examples whose derivation is there.
  examples = builtins.mapAttrs (_: example: example.drvPath or null) (
    builtins.removeAttrs examples [
      "override"
      "overrideDerivation"
      # Evaluates a NixOS configuration, which the fork has none of.
      "etc"
    ]
  );
  # callPackage, makeOverridable and lib see the arguments of the functions.
  arguments = pkgs.lib.functionArgs strata.buildImage;
  called =
    let
      layer = pkgs.callPackage strata.buildLayer { deps = [ pkgs.bash ]; };
      image = pkgs.lib.makeOverridable strata.buildImage { name = "x"; };
      archive = pkgs.lib.makeOverridable strata.dockerTools.buildImage { name = "x"; };
    in
    [
      (layer.override { maxLayers = 2; }).drvPath
      (image.override { tag = "2"; }).imageTag
      ((archive.override { tag = "2"; }).overrideAttrs { name = "y"; }).imageTag
    ];
  # The functions of nix/lib.nix have nixpkgs' results.
  lib =
    let
      texts = [
        ""
        "aB-Z_9"
        "..hidden"
        "a b//c"
        "ä~"
        (builtins.concatStringsSep "" (builtins.genList (_: "long.*") 60))
      ];
      overlays = [
        (_: previous: { a = previous.a + 1; })
        (final: _: { b = final.a * 10; })
      ];
      results =
        lib:
        let
          overridable = lib.makeOverridable (arguments: { inherit (arguments) a; }) { a = 1; };
        in
        [
          (map lib.toLower texts)
          (map lib.escapeRegex texts)
          (map lib.strings.sanitizeDerivationName texts)
          (map (limit: lib.strings.levenshteinAtMost limit "maxlayer" "maxLayers") [ 0 1 2 ])
          (lib.strings.levenshteinAtMost 2 "abc" "xbcy")
          (lib.escape [ "\"" "$" ] "a\"$b")
          (map (lib.toposort (a: b: a + 1 == b)) [ [ ] [ 3 2 1 ] [ 5 ] ])
          (builtins.sort builtins.lessThan (lib.toposort (a: b: a == (if b == 3 then 1 else b + 1)) [ 1 2 3 ]).cycle)
          (lib.flatten [ 1 [ 2 [ [ ] 3 ] ] ])
          (lib.genAttrs [ "a" "b" ] (name: name + name))
          (lib.filterAttrs (name: value: name == "a" || value) { a = false; b = true; c = false; })
          (map lib.isFunction [ (x: x) { __functor = _: x: x; } { } 1 ])
          [ (lib.optional true 1) (lib.optional false 1) (lib.optionals false [ 1 ]) (lib.optionalAttrs true { a = 1; }) (lib.optionalString false "x") ]
          (lib.fix (lib.extends (builtins.foldl' lib.composeExtensions (_: _: { }) overlays) (_: { a = 1; b = 0; })))
          [ overridable.a (overridable.override { a = 2; }).a (overridable.override (old: { a = old.a + 2; })).a ]
        ];
      by_strata = import (root + "/nix/lib.nix");
    in
    results (by_strata // { strings = by_strata; }) == results pkgs.lib;
  # The arguments of nixpkgs' functions that strata's lack, and the functions that are lambdas.
  dockerTools =
    builtins.mapAttrs
      (
        name: by_peer:
        let
          by_strata = strata.dockerTools.${name};
        in
        {
          missing = builtins.attrNames (
            builtins.removeAttrs (pkgs.lib.functionArgs by_peer) (builtins.attrNames (pkgs.lib.functionArgs by_strata))
          );
          lambdas = map builtins.isFunction [
            by_peer
            by_strata
          ];
        }
      )
      {
        inherit (pkgs.dockerTools)
          buildImage
          buildImageWithNixDb
          buildLayeredImage
          buildLayeredImageWithNixDb
          buildNixShellImage
          exportImage
          mergeImages
          streamLayeredImage
          streamNixShellImage
          ;
      };
}
