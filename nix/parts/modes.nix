# dockerTools' two modes, layered and in one layer: which arguments each takes, and how they become those of nix/parts/archive.nix.
{
  archive,
  check,
  names,
}:
let
  # For each argument, whether it has a default: the form of builtins.functionArgs.
  all = builtins.removeAttrs (builtins.functionArgs (archive "" { })) [
    "contentsArgument"
    "placing"
    "single"
  ];
  onlyLayered = {
    inherit (all)
      debug
      enableFakechroot
      fakeRootCommands
      gname
      layering
      layeringPipeline
      maxLayers
      previous
      uname
      weights
      ;
  };
  onlySingle = {
    inherit (all) runAsRoot;
    copyToRoot = true;
    keepContentsDirlinks = true;
    # Accepted and ignored: there is no virtual machine.
    buildVMMemorySize = true;
    diskSize = true;
  };
  nothing = value: if value == null then [ ] else value;
  # The name of `contents` in the function that the user called.
  ownName = function: argument: if function == "makeContainerImage" then "layers" else argument;
  # Checks of arguments of both modes.
  checks =
    function: arguments:
    builtins.mapAttrs (argument: check: check function argument arguments.${argument}) (
      builtins.intersectAttrs arguments {
        inherit (check) name tag;
        fromImage = check.image;
        gid = check.id;
        uid = check.id;
      }
    );
in
{
  inherit onlyLayered onlySingle;
  layeredArguments = builtins.removeAttrs all (builtins.attrNames onlySingle);
  singleArguments = builtins.removeAttrs all (builtins.attrNames onlyLayered) // onlySingle;

  # For the arguments of dockerTools.buildLayeredImage.
  layered =
    function: arguments:
    archive function arguments (
      arguments
      // checks function arguments
      // {
        contents = check.stored function "contents" (nothing (arguments.contents or null));
        contentsArgument = ownName function "contents";
      }
    );

  # For the arguments of dockerTools.buildImage.
  single =
    function: arguments:
    let
      roots = names.renamed function (arguments.copyToRoot or null) (arguments.contents or null);
      argument = if arguments.contents or null == null then "copyToRoot" else "contents";
    in
    archive function arguments (
      builtins.removeAttrs arguments (builtins.attrNames onlySingle)
      // checks function arguments
      // {
        single = true;
        runAsRoot = arguments.runAsRoot or null;
        contents = check.stored function argument (nothing roots);
        contentsArgument = ownName function argument;
        placing = if arguments.keepContentsDirlinks or false then "copyDirlinks" else "copy";
      }
    );
}
