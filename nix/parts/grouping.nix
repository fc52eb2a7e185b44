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
  closure = map names.storePath (check.storedList function "deps" deps) ++ roots;
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
    }) roots;
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
