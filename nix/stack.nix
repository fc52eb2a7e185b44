# Layers that stand on layers: each once, each above what it stands on. Every result that is a layer has its `stack`,
# itself last, so a chain of n layers costs n.
{ check }:
function: layers:
builtins.foldl' (
  sorted: layer:
  sorted
  ++ builtins.filter (below: !builtins.elem below.outPath (map (known: known.outPath) sorted)) (
    layer.stack or (throw "strata: argument layers of ${function} takes results of buildLayer and ociLayerTar; put packages in deps, copyToRoot or files")
  )
) [ ] (check.list function "layers" layers)
