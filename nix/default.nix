# The library: a package set in, every public function out.
#
#   functions/   one public function a file, named as its attribute
#   parts/       what they share
#   makes/       `m`, the runner of Makes projects
#
# A file is a function of what it needs of `scope`, the one place where everything has its name.
{
  # What images are made of.
  pkgs,
  # Where the programs that copy them run, if that is not where they are built.
  host ? pkgs.buildPackages,
}:
let
  call = callOver scope;
  callOver =
    scope: file:
    let
      function = import file;
    in
    function (builtins.intersectAttrs (builtins.functionArgs function) scope);

  scope = {
    libraryOver = pkgs: import ./. { inherit pkgs host; };
    toolchain = import ./toolchain.nix { inherit pkgs host; };
    derive = call ./derive.nix;

    archive = call ./parts/archive.nix;
    attachments = call ./parts/attachments.nix;
    base = call ./parts/base.nix;
    check = import ./parts/check.nix;
    checkArguments = call ./parts/arguments.nix;
    configFile = call ./parts/config.nix;
    compressions = import ./parts/compressions.nix;
    copyPrograms = call ./parts/copy-programs.nix;
    detach = call ./parts/detach.nix;
    grouping = call ./parts/grouping.nix;
    guards = call ./parts/guards.nix;
    layerings = call ./parts/layerings.nix;
    modes = call ./parts/modes.nix;
    names = import ./parts/names.nix;
    nixShell = call ./parts/nix-shell.nix;
    overridable = import ./parts/overridable.nix;
    program = call ./parts/program.nix;
    sbom = call ./parts/sbom.nix;
    scriptText = import ./parts/script-text.nix;
    searchPaths = import ./parts/search-paths.nix;
    stack = call ./parts/stack.nix;
    undetachable = import ./parts/undetachable.nix;
    variable = import ./parts/variable.nix;

    makes = call ./makes/script.nix;
  }
  // functions;

  # `checked` is the check of its own arguments.
  public =
    name:
    let
      checked = scope.checkArguments name (builtins.functionArgs function);
      function = callOver (scope // { inherit checked; }) (./functions + "/${name}.nix");
    in
    function;

  functions = builtins.listToAttrs (
    map
      (name: {
        inherit name;
        value = public name;
      })
      [
        "buildImage"
        "buildLayer"
        "checkBudget"
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
      ]
  );
in
functions
// {
  dockerTools = call ./functions/dockerTools.nix;
  nix2container = call ./functions/nix2container.nix;
  lockedImage = call ./functions/lockedImage.nix;
  m = call ./makes/m.nix;
  # The machine that the package set is for, as `extraConfig` of ociImageManifest takes it.
  platform = {
    architecture = scope.toolchain.arch;
  }
  // (if scope.toolchain.variant == null then { } else { inherit (scope.toolchain) variant; });
}
