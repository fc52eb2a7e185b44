/**
  Store paths and their closures as layers, for `layers` of buildImage and buildLayer.

  # Example

  ```nix
  buildLayer { deps = [ pkgs.bash ]; }
  ```

  # Arguments

  - `copyToRoot` (package, list of packages or null): packages whose files are moved to `/`.
  - `contents` (package, list of packages or null): an older name of `copyToRoot`.
  - `ignore` (package, list of packages or null): store paths to leave out.
  - `layers` (list of layers): layers below this one, whose store paths are left out.
  - `maxLayers` (integer): the maximum number of layers.
  - `reproducible` (boolean; Output): whether the layer can be generated again from its store paths. If `false`, its tar is kept in the store.
  - `layersFile` (path or null; Layers): a JSON file with the layers: a list of lists of store paths, one list per layer, which together are the
    closure.
  - `fromTar` (list of attribute sets): `{ path; tar; }` replaces the files of the store path `path`, one of `deps` or `copyToRoot`, with
    those of the archive, with its owners and modes; `nix2container.buildLayer` also keeps its modification times. `perms` apply to `PATH/FILE`. The layer's tar is kept in the store.
  - `excludes` (list of attribute sets): `{ path; excludes; }` leaves out files and directories of a store path, such as
    `[ "share/doc" ]`. The layer's tar is kept in the store.
  - `ensureDirs` (list of attribute sets): `{ path; dir; uid; gid; mode; }` creates the directory `dir` below a store path if it does not
    exist, such as `"nix/store"` in a package that is copied to the root. The layer's tar is kept in the store.
  - `extraCommands` (string): a script that runs in an empty directory as an ordinary user. Its files and the store paths
    that they mention are layers of their own, below these, for which `maxLayers`, `layering`, `weights`, `previous`, `ignore`,
    `reproducible`, `compressed`, `metadata` and `annotations` hold too.
  - `fakeRootCommands` (string): a script that runs after it with fakeroot, to set owners.
  - `enableFakechroot` (boolean): whether `fakeRootCommands` sees that directory as `/`, in a user namespace.
  - `annotations` (attribute set of strings): annotations of the layers' descriptors in the manifest.
  - `compressor` (string or null; Layers): another name of `compressed`.
  - `metadata` (attribute set; Configuration): the history of each layer: `created`, `created_by`, `author`, `comment`.
*/
{
  checked,
  check,
  compressions,
  defaults,
  grouping,
  layer,
  names,
  scriptsLayer,
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
  excludes ? [ ],
  ensureDirs ? [ ],
  extraCommands ? "",
  fakeRootCommands ? "",
  enableFakechroot ? false,
  compressed ? null,
  # Its name in nix2container.
  compressor ? null,
  # An older name of copyToRoot.
  contents ? null,
  metadata ? defaults.metadata,
  annotations ? { },
  keepStorePaths ? false,
  ...
}@arguments:
assert checked arguments;
assert check.needed "buildLayer" {
  enableFakechroot = {
    needs = "fakeRootCommands";
    holds = !builtins.elem fakeRootCommands [ null "" ];
  };
} arguments;
let
  group = grouping "buildLayer" {
    copyToRoot = names.renamed "buildLayer" copyToRoot contents;
    layers = scriptsLayer "buildLayer" {
      name = "layer";
      # Not the default, which describes the layers of packages.
      metadata = arguments.metadata or { };
      compressed = compression;
      ignore = ignored;
      inherit
        extraCommands
        fakeRootCommands
        enableFakechroot
        maxLayers
        layering
        weights
        previous
        reproducible
        annotations
        ;
    } layers;
    inherit
      deps
      maxLayers
      perms
      metadata
      annotations
      keepStorePaths
      layering
      weights
      previous
      layersFile
      fromTar
      excludes
      ensureDirs
      ;
    inherit (defaults) keepsArchiveTimes;
    ignore = ignored;
  };
  ignored = if ignore == null then [ ] else check.stored "buildLayer" "ignore" ignore;
  compression = compressions "buildLayer" { inherit compressed compressor; };
in
layer {
  inherit group arguments reproducible;
  compressed = compression;
}
