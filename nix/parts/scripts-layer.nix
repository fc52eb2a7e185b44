# The layers of `extraCommands` and `fakeRootCommands` of buildImage and buildLayer: the files that the scripts leave in an empty
# root, and the store paths that these mention. Appends them to a list of layers, whose store paths they leave out.
{
  base,
  customisation,
  grouping,
  layer,
  scriptText,
  toolchain,
}:
function:
{
  name,
  extraCommands,
  fakeRootCommands,
  enableFakechroot,
  baseImage ? base {
    fromImage = null;
    inherit (toolchain) arch;
    inheritConfig = false;
    keepBaseDirlinks = false;
  },
  # As nix/parts/grouping.nix and nix/parts/layer.nix take them.
  maxLayers,
  layering,
  weights,
  previous,
  compressed,
  metadata ? { },
  annotations ? { },
  ignore ? [ ],
  includeStorePaths ? true,
  reproducible ? true,
}:
layers:
let
  files = customisation {
    base = baseImage;
    inherit
      name
      extraCommands
      fakeRootCommands
      enableFakechroot
      ;
  };
  group = grouping function {
    copyToRoot = files;
    scripts = [ files ];
    perms = [ ];
    metadata = {
      created_by = "extraCommands and fakeRootCommands";
    }
    // metadata;
    inherit
      annotations
      layers
      maxLayers
      weights
      previous
      ignore
      includeStorePaths
      ;
    # The start of a container does not need all of these layers. They are separate in any case.
    layering = layering.strategy or layering;
  };
in
if scriptText extraCommands == "" && scriptText fakeRootCommands == "" then
  layers
else
  layers ++ [ (layer { inherit group reproducible compressed; }) ]
