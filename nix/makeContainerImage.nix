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

  - `layers`: packages, linked at `/`; their closures are in the image, grouped by what an update sends.
  - `maxLayers`: at most this many layers are made, the one with the links among them.
  - `config`: the OCI configuration (`Entrypoint`, `Env`, …); store paths that it mentions are in the image.
  - `layering`, `weights`, `previous`: as for buildLayer, with `"transfer"` by default.
  - `maxSize`, `maxLayerSize`, `forbiddenPaths`: as for buildImage.
  - `name`, `tag`: what the image is called when it is loaded.
  - `created`: RFC 3339.
*/
{
  derive,
  check,
  configFile,
  guards,
  layerings,
  names,
  toolchain,
  ...
}:
{
  name ? "container-image",
  tag ? "latest",
  created ? "1970-01-01T00:00:01Z",
  layers ? [ ],
  maxLayers ? 65,
  layering ? "transfer",
  weights ? { },
  previous ? null,
  maxSize ? null,
  maxLayerSize ? null,
  forbiddenPaths ? [ ],
  config ? { },
}:
let
  base = names.base name;
  file = configFile base (check.attrs "makeContainerImage" "config" config);
  contents = check.list "makeContainerImage" "layers" layers;
in
derive {
  name = "${base}.tar.gz";
  kind = "archive";
  closure = contents ++ [ file ];
  request = {
    inherit contents created tag;
    layering = layerings "makeContainerImage" { inherit layering weights previous; };
    guards = guards "makeContainerImage" { inherit maxSize maxLayerSize forbiddenPaths; };
    maxLayers = check.atLeast 2 "makeContainerImage" "maxLayers" maxLayers;
    config = file;
    name = names.lower (check.string "makeContainerImage" "name" name);
    inherit (toolchain) arch;
  };
}
// {
  imageName = names.lower name;
  imageTag = tag;
}
