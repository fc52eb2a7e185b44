# The library: every public function, over a package set.
#
#   functions/    one public function per file, named as its attribute
#   parts/        what they share
#   makes/        `m`, the runner of Makes projects
#   modules/      flake-parts, NixOS
#   lib.nix       functions of nixpkgs' lib
#   toolchain.nix, linux.nix
#                 the only files that read package sets
#
# The files use `builtins` only. They evaluate without nixpkgs (100 images in 0.1 s), and the tests need none. Each file is a
# function of the names in `scope` that it uses.
{
  # The packages of images. On darwin, those of its Linux builder are used.
  pkgs ? throw "strata: the library needs the argument pkgs, a package set",
  # The packages of the machine that runs the copy programs.
  hostPkgs ? pkgs.buildPackages,
  ...
}@arguments:
let
  lib = import ./lib.nix;
  linux = import ./linux.nix;
  defaults = import ./parts/defaults.nix;
  unknown = builtins.removeAttrs arguments [
    "hostPkgs"
    "pkgs"
  ];
  accepted =
    if arguments ? stdenv then
      throw "strata: the library takes an attribute set, not a package set; write { pkgs = …; } or { inherit pkgs; }"
    else if arguments ? pkgs.legacyPackages && !(arguments ? pkgs.stdenv) then
      throw "strata: the argument pkgs is a flake, not a package set; write nixpkgs.legacyPackages.\${system}"
    else if unknown != { } then
      throw "strata: the library has no argument ${
        (import ./parts/check.nix { inherit lib; }).near (builtins.head (builtins.attrNames unknown)) [
          "hostPkgs"
          "pkgs"
        ]
      }"
    else
      true;

  callOver =
    scope: file:
    let
      function = import file;
    in
    function (builtins.intersectAttrs (builtins.functionArgs function) scope);
  # `checked` checks the arguments of the public function in the file.
  publicOver =
    scope: name:
    let
      checked = scope.checkArguments name (builtins.functionArgs function);
      function = callOver (
        scope
        // {
          inherit checked;
          defaults = complete scope scope.defaults;
        }
      ) (./functions + "/${name}.nix");
    in
    function;
  # Checks the defaults, which `overrideScope` may have replaced.
  complete =
    scope: given:
    let
      known = builtins.attrNames defaults.strata;
      missing = builtins.filter (name: !(given ? ${name})) known;
    in
    if missing == [ ] then
      scope.check.keys known "overrideScope" "defaults" given
    else
      throw "strata: defaults of overrideScope lacks ${builtins.concatStringsSep " and " missing}; write defaults = prev.defaults // { … }";

  parts =
    scope:
    let
      call = callOver scope;
    in
    {
      inherit lib hostPkgs;
      pkgs = linux pkgs;
      libraryOver = pkgs: scope.overrideScope (_: _: { pkgs = linux pkgs; });
      toolchain = call ./toolchain.nix;
      derive = call ./derive.nix;

      archive = call ./parts/archive.nix;
      attachments = call ./parts/attachments.nix;
      base = call ./parts/base.nix;
      check = call ./parts/check.nix;
      checkArguments = call ./parts/arguments.nix;
      configFile = call ./parts/config.nix;
      compressions = import ./parts/compressions.nix;
      copyPrograms = call ./parts/copy-programs.nix;
      customisation = call ./parts/customisation.nix;
      defaults = defaults.strata;
      detach = call ./parts/detach.nix;
      digests = call ./parts/digests.nix;
      grouping = call ./parts/grouping.nix;
      guards = call ./parts/guards.nix;
      layer = call ./parts/layer.nix;
      layerings = call ./parts/layerings.nix;
      makeResult = call ./parts/result.nix;
      modes = call ./parts/modes.nix;
      names = import ./parts/names.nix;
      nix2containerDefaults = defaults.nix2container;
      nixShell = call ./parts/nix-shell.nix;
      program = call ./parts/program.nix;
      sbom = call ./parts/sbom.nix;
      scriptText = import ./parts/script-text.nix;
      scriptsLayer = call ./parts/scripts-layer.nix;
      searchPaths = import ./parts/search-paths.nix;
      strategies = import ./parts/strategies.nix;
      stack = call ./parts/stack.nix;
      types = call ./parts/types.nix;
      undetachable = import ./parts/undetachable.nix;
      variable = import ./parts/variable.nix;

      makes = call ./makes/script.nix;
    };

  functions = [
    "buildImage"
    "buildIndex"
    "buildLayer"
    "checkBudget"
    "checkImage"
    "makeContainerImage"
    "makeDerivation"
    "makeScript"
    "makeSearchPaths"
    "ociImageConfig"
    "ociImageIndex"
    "ociImageLayout"
    "ociImageManifest"
    "ociLayerTar"
    "pullImage"
    "pullImageFromManifest"
  ];

  public =
    scope:
    lib.genAttrs functions (publicOver scope)
    // {
      dockerTools = callOver scope ./functions/dockerTools.nix;
      lockedImage = callOver scope ./functions/lockedImage.nix;
      m = callOver scope ./makes/m.nix;
      # The same functions with nix2container's defaults.
      nix2container = callOver (
        scope
        // lib.genAttrs [ "buildImage" "buildLayer" ] (
          publicOver (scope // { defaults = scope.nix2containerDefaults; })
        )
      ) ./functions/nix2container.nix;
      # The package set's platform, as `extraConfig` of ociImageManifest takes it.
      platform = {
        architecture = scope.toolchain.arch;
      }
      // lib.optionalAttrs (scope.toolchain.variant != null) { inherit (scope.toolchain) variant; };
    };

  # The library with a part or a function replaced, or another one added: `overrideScope (final: prev: { … })`, as of nixpkgs'
  # scopes. The functions use the replacement.
  libraryWith =
    overlay:
    let
      scope = lib.fix (
        lib.extends overlay (final: parts final // public final // { inherit overrideScope; })
      );
      overrideScope = change: libraryWith (lib.composeExtensions overlay change);
    in
    builtins.removeAttrs scope (builtins.attrNames (parts scope));
in
assert accepted;
libraryWith (_: _: { })
