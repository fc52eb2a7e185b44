/**
  An image as an archive in the store, `<name>.tar.gz`, for `docker load`.

  # Example

  ```nix
  makeContainerImage {
    config = {
      Env = [ "PATH=/bin" ];
      WorkingDir = "/working-dir";
    };
    layers = [ pkgs.coreutils custom-layer ];
  }
  ```

  # Arguments

  - `layered` (boolean; Layers): whether the image has several layers; if `false`, everything is in one layer.
  - `layers` (list of packages; Contents): packages to link at `/`, with their closures. With `layered = false` they are copied to `/`.
  - `contents` (package or list of packages): further packages like `layers`.
  - `copyToRoot` (package, list of packages or null): with `layered = false`: packages whose files are copied to `/`.
*/
{
  checked,
  check,
  modes,
  toolchain,
}:
{
  name ? "container-image",
  tag ? "latest",
  layered ? true,
  layers ? [ ],
  contents ? [ ],
  config ? { },
  architecture ? toolchain.arch,
  variant ? toolchain.variant,
  created ? "1970-01-01T00:00:01Z",
  mtime ? null,
  uid ? 0,
  gid ? 0,
  uname ? "root",
  gname ? "root",
  maxLayers ? 65,
  layering ? null,
  layeringPipeline ? null,
  debug ? false,
  weights ? { },
  previous ? null,
  fromImage ? null,
  fromImageName ? null,
  fromImageTag ? null,
  inheritConfig ? null,
  keepBaseDirlinks ? true,
  allowOtherBasePlatform ? false,
  extraCommands ? "",
  fakeRootCommands ? "",
  enableFakechroot ? false,
  includeStorePaths ? true,
  includeNixDB ? false,
  maxSize ? null,
  maxLayerSize ? null,
  forbiddenPaths ? [ ],
  compressor ? "gz",
  passthru ? { },
  meta ? { },
  # With `layered = false`.
  copyToRoot ? null,
  keepContentsDirlinks ? false,
  runAsRoot ? null,
  # For a virtual machine; there is none here.
  diskSize ? 1024,
  buildVMMemorySize ? 512,
  ...
}@arguments:
assert checked arguments;
let
  function = "makeContainerImage";
  # Refuses arguments that belong to the other mode, except values that have no effect in it.
  only =
    mode: others: arguments:
    let
      foreign = builtins.filter (name: others ? ${name}) (builtins.attrNames arguments);
      wrong = builtins.filter (name: name != "maxLayers" && arguments.${name} != null) foreign;
    in
    if wrong == [ ] then
      builtins.removeAttrs arguments foreign
    else
      throw "strata: argument ${builtins.head wrong} of makeContainerImage is for layered = ${mode}";
  # What was given, and what dockerTools has another default of.
  given =
    {
      inherit name tag;
    }
    // builtins.removeAttrs arguments [
      "layered"
      "layers"
    ];
  list = value: if value == null then [ ] else if builtins.isList value then value else [ value ];
  own = check.storedList function "layers" layers;
in
if layered then
  (modes.layered function (
    only "false" modes.onlySingle given
    // {
      inherit maxLayers;
      contents = own ++ list contents;
    }
  )).archive
else
  (modes.single function (
    builtins.removeAttrs (only "true" modes.onlyLayered given) [ "contents" ]
    // {
      copyToRoot = own ++ list copyToRoot ++ list contents;
    }
  )).archive
