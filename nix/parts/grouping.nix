# How store paths become layers: what buildLayer and buildImage share. The fields of src/builder/grouping.rs,
# and the closure they are about.
{
  check,
  layerings,
  lib,
  names,
  stack,
}:
function:
{
  deps ? [ ],
  copyToRoot,
  # Whether the packages of copyToRoot are in the layers at their store paths, too.
  keepStorePaths ? false,
  # Store paths that are moved to `/` in any case.
  moved ? [ ],
  ignore ? [ ],
  layers,
  maxLayers,
  perms,
  metadata,
  # Of the descriptor of each layer.
  annotations ? { },
  layering,
  weights,
  previous,
  layersFile ? null,
  fromTar ? [ ],
  excludes ? [ ],
  ensureDirs ? [ ],
  # Whether files of `fromTar` keep their modification times.
  keepsArchiveTimes ? false,
  # Results of nix/parts/customisation.nix.
  scripts ? [ ],
  includeStorePaths ? true,
}:
let
  roots = if copyToRoot == null then [ ] else map whole (check.stored function "copyToRoot" copyToRoot);
  # Layers are made of store paths as a whole.
  whole =
    root:
    if names.storePath root == root then
      root
    else
      throw (
        "strata: argument copyToRoot of ${function} has \"${root}\", which is only a part of a package; "
        + "give the package, or one that has this part alone, as pkgs.buildEnv with pathsToLink makes it"
      );
  below = stack function layers;
in
{
  inherit below roots;
  # Store paths of the closure that are not in the layers at their own place.
  elsewhere = lib.optionals (!keepStorePaths) roots;
  closure = map names.storePath (check.storedList function "deps" deps) ++ roots ++ moved;
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
      regex = "^${lib.escape [ "+" "?" ] "${path}"}";
      repl = "";
    }) (roots ++ moved);
    kept = lib.optionals keepStorePaths (
      if includeStorePaths then
        roots
      else
        throw "strata: ${function} has keepStorePaths and includeStorePaths = false; give one"
    );
    annotations = check.strings function "annotations" annotations;
    perms = check.perms function "perms" perms;
    layers = below;
    unpacked = {
      inherit keepsArchiveTimes;
      scripts = map (files: "${files}") scripts;
      fromTar = map (
        entry:
        builtins.mapAttrs (argument: value: "${check.file function "fromTar: ${argument}" value}") (
          check.entry [ "path" "tar" ] [ ] function "fromTar" entry
        )
      ) (check.list function "fromTar" fromTar);
      excludes = map (
        entry:
        let
          given = check.entry [ "path" "excludes" ] [ ] function "excludes" entry;
        in
        {
          path = "${check.file function "excludes: path" given.path}";
          excludes = map (check.string function "excludes: excludes") (
            check.list function "excludes: excludes" given.excludes
          );
        }
      ) (check.list function "excludes" excludes);
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
