# How store paths become layers: what buildLayer and buildImage share. The fields of src/build/grouping.rs,
# and the closure they are about.
{ check }:
function:
{
  deps ? [ ],
  copyToRoot,
  ignore ? [ ],
  layers,
  maxLayers,
  perms,
  metadata,
}:
let
  roots =
    if copyToRoot == null then
      [ ]
    else if builtins.isList copyToRoot then
      copyToRoot
    else
      [ copyToRoot ];

  # Layers that layers stand on, each once, each above what it stands on.
  flatten =
    layers:
    builtins.foldl' (
      sorted: layer:
      sorted ++ builtins.filter (below: !builtins.elem below.outPath (map (l: l.outPath) sorted)) layer.stack
    ) [ ] layers;
  below = flatten (
    map (
      layer:
      if layer ? stack then
        layer
      else
        throw "strata: argument layers of ${function} takes results of buildLayer; put packages in deps or copyToRoot"
    ) (check.list function "layers" layers)
  );
in
{
  inherit below;
  closure = deps ++ roots;
  request = {
    maxLayers = check.atLeast 1 function "maxLayers" maxLayers;
    rewrites = map (path: {
      inherit path;
      regex = "^${path}";
      repl = "";
    }) roots;
    perms = check.list function "perms" perms;
    layers = below;
    inherit ignore metadata;
  };
}
