# How store paths become layers: what buildLayer and buildImage share. The fields of src/derivation/grouping.rs,
# and the closure they are about.
{
  check,
  layerings,
  stack,
}:
function:
{
  deps ? [ ],
  copyToRoot,
  ignore ? [ ],
  layers,
  maxLayers,
  perms,
  metadata,
  layering,
  weights,
  previous,
  layersFile ? null,
  fromTar ? [ ],
  ensureDirs ? [ ],
  includeStorePaths ? true,
}:
let
  roots = if copyToRoot == null then [ ] else check.stored function "copyToRoot" copyToRoot;
  below = stack function layers;
in
{
  inherit below roots;
  closure = check.storedList function "deps" deps ++ roots;
  request = {
    maxLayers = check.atLeast 1 function "maxLayers" maxLayers;
    layering = layerings function {
      inherit
        layering
        weights
        previous
        layersFile
        ;
    };
    rewrites = map (path: {
      inherit path;
      # Names may have what means something in a regular expression.
      regex = "^${builtins.replaceStrings [ "+" "?" ] [ "\\+" "\\?" ] "${path}"}";
      repl = "";
    }) roots;
    perms = check.perms function "perms" perms;
    layers = below;
    unpacked = {
      fromTar = map (
        entry:
        builtins.mapAttrs (argument: value: "${check.file function "fromTar: ${argument}" value}") (
          check.entry [ "path" "tar" ] [ ] function "fromTar" entry
        )
      ) (check.list function "fromTar" fromTar);
      ensureDirs = map (
        entry:
        check.owned function "ensureDirs" (
          check.entry [ "path" "dir" ] [ "gid" "mode" "uid" ] function "ensureDirs" entry
        )
        // {
          path = "${check.file function "ensureDirs: path" entry.path}";
        }
      ) (check.list function "ensureDirs" ensureDirs);
    };
    withoutStorePaths = !includeStorePaths;
    inherit ignore metadata;
  };
}
