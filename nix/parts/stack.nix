# Layers that stand on layers: each once, each above what it stands on. Every result that is a layer has its `stack`,
# itself last, so a chain of n layers costs n.
{ check }:
function: layers:
let
  stackOf =
    layer:
    layer.stack or (throw (
      "strata: argument layers of ${function} takes results of buildLayer and ociLayerTar; "
      + "put packages in deps, copyToRoot or files"
    ));
  add =
    sorted: layer:
    let
      known = map (below: below.outPath) sorted;
    in
    sorted ++ builtins.filter (below: !builtins.elem below.outPath known) (stackOf layer);
in
builtins.foldl' add [ ] (check.results function "layers" layers)
