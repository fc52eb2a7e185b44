/**
  One image of one platform, for `manifests` of ociImageLayout.

  # Example

  ```nix
  ociImageManifest { layers = [ layer ]; tag = "1.0"; extraConfig.config.Entrypoint = [ "/bin/nginx" ]; }
  ```

  # Arguments

  - `layers`, `extraConfig`: as for ociImageConfig.
  - `extraManifest`: `annotations`, `artifactType`, `subject`, and whatever else a manifest may have.
  - `tag`, `tags`: under which names (`org.opencontainers.image.ref.name`) a layout lists the image.

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
