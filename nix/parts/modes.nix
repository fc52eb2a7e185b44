# dockerTools' two modes, layered and in one layer: which arguments each takes, and how they become those of nix/parts/archive.nix.
{
  archive,
  check,
  names,
}:
let
  # Each by whether it has a default, as builtins.functionArgs says it.
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
    # For a virtual machine; there is none here.
    buildVMMemorySize = true;
    diskSize = true;
  };
  nothing = value: if value == null then [ ] else value;
  # Makes' name of it.
  ownName = function: argument: if function == "makeContainerImage" then "layers" else argument;
  # What both take.
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

  # Of arguments as dockerTools.buildLayeredImage takes them.
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

  # Of arguments as dockerTools.buildImage takes them.
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
