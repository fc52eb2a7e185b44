/**
  An OCI layout: a directory with one image, or the same image for several platforms.

  # Example

  ```nix
  ociImageLayout {
    manifests = [
      (ociImageManifest { layers = [ layer ]; extraConfig.config.Entrypoint = [ "/bin/nginx" ]; })
    ];
  }
  ```

  # Arguments

  - `manifests` (list of images): results of ociImageManifest.
  - `extraIndex` (attribute set): further keys of the index, such as `annotations`, `artifactType` and `subject`.
  - `link` (boolean): whether blobs are links to store paths instead of copies.
*/
{
  checked,
  derive,
  check,
  undetachable,
}:
{
  manifests ? [ ],
  extraIndex ? { },
  link ? false,
  passthru ? { },
  ...
}@arguments:
assert checked arguments;
derive {
  inherit arguments;
  passthru = _: undetachable "ociImageLayout" // check.attrs "ociImageLayout" "passthru" passthru;
  name = "image-layout";
  kind = "oci-layout";
  request = {
    manifests = check.results "ociImageLayout" "manifests" manifests;
    extraIndex = check.attrs "ociImageLayout" "extraIndex" extraIndex;
    inherit link;
  };
}
