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

  - `manifests`: results of ociImageManifest.
  - `extraIndex`: `annotations`, `artifactType`, `subject` of the index, and whatever else it may have.
  - `link`: whether blobs are links to the store paths that have them, instead of copies.
  - `passthru`: attributes of the result.
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
  passthru = _: undetachable "ociImageLayout" // passthru;
  name = "image-layout";
  kind = "oci-layout";
  request = {
    manifests = check.results "ociImageLayout" "manifests" manifests;
    extraIndex = check.attrs "ociImageLayout" "extraIndex" extraIndex;
    inherit link;
  };
}
