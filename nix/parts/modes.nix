# dockerTools' two modes, layered and in one layer: which arguments each takes, and how they become those of nix/parts/archive.nix.
{ archive, names }:
let
  one = value: if builtins.isList value then value else [ value ];
  # Each by whether it has a default, as builtins.functionArgs says it.
  all = builtins.removeAttrs (builtins.functionArgs (archive "")) [
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
    # Of a virtual machine, which there is none of.
    buildVMMemorySize = true;
    diskSize = true;
  };
in
{
  inherit onlyLayered onlySingle;
  layeredArguments = builtins.removeAttrs all (builtins.attrNames onlySingle);
  singleArguments = builtins.removeAttrs all (builtins.attrNames onlyLayered) // onlySingle;
  makesArguments =
    all
    // onlySingle
    // {
      name = true;
      layered = true;
      layers = true;
    };

  # Of arguments as dockerTools.buildLayeredImage takes them.
  layered =
    function: arguments: archive function (arguments // { contents = one (arguments.contents or [ ]); });

  # Of arguments as dockerTools.buildImage takes them.
  single =
    function: arguments:
    let
      roots = names.renamed function (arguments.copyToRoot or null) (arguments.contents or null);
    in
    archive function (
      builtins.removeAttrs arguments (builtins.attrNames onlySingle)
      // {
        single = true;
        runAsRoot = arguments.runAsRoot or null;
        contents = if roots == null then [ ] else one roots;
        placing = if arguments.keepContentsDirlinks or false then "copyDirlinks" else "copy";
      }
    );
}
