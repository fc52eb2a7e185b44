# How store paths become layers: what buildLayer and buildImage share. The fields of src/build/grouping.rs,
# and the closure they are about.
{ check, stack }:
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
  below = stack function layers;
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
