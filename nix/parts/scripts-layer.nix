# The layer that scripts of buildImage and buildLayer make: what `extraCommands` and `fakeRootCommands` leave in an empty root.
# From a list of layers to the same with that layer at its end, where there is a script.
{
  base,
  check,
  derive,
  grouping,
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
}:
let
  script = argument: value: check.string function argument (scriptText value);
  # A derivation of its own, in which Nix finds the store paths that the files mention.
  made = derive {
    name = "${name}-customisation";
    kind = "customisation";
    closure = [ ];
    request = {
      placed = {
        contents = [ ];
        argument = "extraCommands";
        placing = "link";
      };
      base = baseImage;
      includeNixDatabase = false;
      config = null;
      scripts = {
        extraCommands = script "extraCommands" extraCommands;
        fakeRootCommands = script "fakeRootCommands" fakeRootCommands;
        inherit enableFakechroot;
        runAsRoot = null;
        tools = toolchain.scripts;
      };
    };
  };
  group = grouping function {
    copyToRoot = made;
    layers = [ ];
    maxLayers = 64;
    perms = [ ];
    layering = "transfer";
    weights = { };
    previous = null;
    metadata.created_by = "extraCommands and fakeRootCommands";
  };
  layer = derive {
    name = "layers.json";
    kind = "layers";
    inherit (group) closure;
    request = {
      grouping = group.request // {
        unpacked = group.request.unpacked // {
          made = [ "${made}" ];
        };
      };
      reproducible = true;
      compressed = null;
    };
    passthru =
      layer:
      let
        own = {
          stack = [ (layer // own) ];
          inherit (group) closure roots;
        };
      in
      own;
  };
in
layers: if extraCommands == "" && fakeRootCommands == "" then layers else layers ++ [ layer ]
