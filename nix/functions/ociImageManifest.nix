/**
  One image of one platform, for `manifests` of ociImageLayout.

  # Example

  ```nix
  ociImageManifest { layers = [ layer ]; tag = "1.0"; extraConfig.config.Entrypoint = [ "/bin/nginx" ]; }
  ```

  # Arguments

  - `layers` (list of layers): results of ociLayerTar and buildLayer, lowest first.
  - `extraConfig` (attribute set): `architecture` (by default `"amd64"`), `os`, `variant`, `created`, `author`, `history`, and `config` with
    `Entrypoint`, `Env` and so on; other keys are passed on.
  - `extraManifest` (attribute set): further keys of the manifest, such as `annotations`, `artifactType` and `subject`.
  - `tag` (string or null): the name of the image in a layout, `org.opencontainers.image.ref.name`.
  - `tags` (list of strings): further names of the image in a layout.

  The result has `image-manifest.json`, `media-descriptor.json` and `blobs/`.
*/
{
  checked,
  derive,
  check,
  stack,
  undetachable,
}:
{
  layers ? [ ],
  extraConfig ? { },
  extraManifest ? { },
  tag ? null,
  tags ? [ ],
  ...
}@arguments:
assert checked arguments;
derive {
  inherit arguments;
  passthru = _: undetachable "ociImageManifest";
  name = "image-manifest";
  kind = "oci-manifest";
  request = {
    layers = stack "ociImageManifest" layers;
    extraConfig = check.config "ociImageManifest" "extraConfig" extraConfig;
    extraManifest = check.attrs "ociImageManifest" "extraManifest" extraManifest;
    tags = (if tag == null then [ ] else [ tag ]) ++ check.list "ociImageManifest" "tags" tags;
  };
}
