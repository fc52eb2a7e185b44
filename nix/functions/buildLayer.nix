/**
  Store paths and their closures as layers, for `layers` of buildImage and buildLayer.

  # Example

  ```nix
  buildLayer { deps = [ pkgs.bash ]; }
  ```

  # Arguments

  - `deps`: packages that keep their store paths.
  - `copyToRoot`: a package or a list of packages whose contents go to `/`.
  - `layers`: layers below this one, whose store paths are left out.
  - `maxLayers`: the maximum number of layers.
  - `perms`: list of `{ path; regex; mode; uid; gid; uname; gname; }`; files of `path` whose source path matches
    `regex` get these.
  - `ignore`: a store path to leave out, or a list of them.
  - `reproducible`: whether the layer can be generated again from its store paths. If `false`, its tar is kept in the store.
  - `layering`: `"popularity"` (nix2container's), `"auto"` (dockerTools') or `"transfer"`, which plans for what an update
    sends; `weights = { roots; names; }` says for the last how often paths change. Or a list of steps, dockerTools'
    `layeringPipeline`.
  - `layersFile`: a JSON file with the layers instead: a list of lists of store paths, one list per layer, which together are
    the closure.
  - `fromTar`: list of `{ path; tar; }`; the files of the archive stand for those of the store path, with the archive's owners
    and modes. `path` is one of `deps` or `copyToRoot`; `perms` hold for `PATH/FILE`.
  - `ensureDirs`: list of `{ path; dir; uid; gid; mode; }`; directories below a store path that are made if it lacks them,
    `"nix/store"` in what is copied to the root for example. Layers with these two keep their tar in the store.
  - `previous`: an older image.json, whose layers are kept where possible.
  - `compressed`: `"gzip"`, `"zstd"` or `"zstd:chunked"` notes what each layer compresses to, so that a push on another
    machine finds it in the registry without making it. Costs what compressing it at its first push does, once for each
    layer derivation. `compressor` is another name of it.
  - `metadata`: history of each layer: `created`, `created_by`, `author`, `comment`.
*/
{
  checked,
  check,
  derive,
  compressions,
  defaults,
  grouping,
  names,
}:
{
  deps ? [ ],
  copyToRoot ? null,
  ignore ? null,
  layers ? [ ],
  maxLayers ? defaults.maxLayers,
  perms ? [ ],
  reproducible ? true,
  layering ? defaults.layering,
  weights ? { },
  previous ? null,
  layersFile ? null,
  fromTar ? [ ],
  ensureDirs ? [ ],
  compressed ? null,
  # Its name in nix2container.
  compressor ? null,
  # An older name of copyToRoot.
  contents ? null,
  metadata ? defaults.metadata,
  ...
}@arguments:
assert checked arguments;
let
  group = grouping "buildLayer" {
    copyToRoot = names.renamed "buildLayer" copyToRoot contents;
    inherit
      deps
      layers
      maxLayers
      perms
      metadata
      layering
      weights
      previous
      layersFile
      fromTar
      ensureDirs
      ;
    ignore = if ignore == null then [ ] else check.stored "buildLayer" "ignore" ignore;
  };
in
derive {
  inherit arguments;
  name = "layers.json";
  kind = "layers";
  inherit (group) closure;
  request = {
    grouping = group.request;
    inherit reproducible;
    compressed = compressions "buildLayer" { inherit compressed compressor; };
  };
  passthru =
    layer:
    let
      own = {
        # This layer and all layers below it, lowest first.
        stack = group.below ++ [ (layer // own) ];
        # For the Nix database of an image: the closure, and its paths that are copied to the root.
        inherit (group) closure roots;
      };
    in
    own;
}
