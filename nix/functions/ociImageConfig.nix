/**
  The configuration of an image with these layers.

  # Example

  ```nix
  ociImageConfig { layers = [ layer ]; extraConfig.config.Entrypoint = [ "/bin/nginx" ]; }
  ```

  # Arguments

  - `layers` (list of layers): results of ociLayerTar and buildLayer, lowest first.
  - `extraConfig` (attribute set): `architecture` (by default `"amd64"`), `os`, `variant`, `created`, `author`, `history`, and `config` with
    `Entrypoint`, `Env` and so on; other keys are passed on.

  The result has `image-config.json`, `platform.json`, `media-descriptor.json` and `blobs/`.
*/
{
  checked,
  derive,
  check,
  stack,
}:
{
  layers ? [ ],
  extraConfig ? { },
  ...
}@arguments:
assert checked arguments;
derive {
  inherit arguments;
  name = "image-config";
  kind = "oci-config";
  request = {
    layers = stack "ociImageConfig" layers;
    extraConfig =
      let
        config = check.config "ociImageConfig" "extraConfig" extraConfig;
      in
      if config ? architecture then
        config // { architecture = check.arch "ociImageConfig" "extraConfig.architecture" config.architecture; }
      else
        config;
  };
}
