/**
  An image from a registry, for `fromImage`, by a manifest in a file next to the code. No other hashes are needed.

  # Example

  ```nix
  pullImageFromManifest {
    imageName = "library/alpine";
    imageManifest = ./alpine-manifest.json;
  }
  ```

  `nix run .#image.fromImage.getManifest > alpine-manifest.json` writes the manifest, the first time too.

  # Arguments

  - `imageName` (string): the repository.
  - `imageManifest` (path or null): a file with the manifest of one platform; required for a build.
  - `imageTag` (string): the tag that getManifest requests.
  - `os` (string): the operating system that getManifest requests.
  - `arch` (string): the architecture that getManifest requests.
  - `variant` (string or null): the variant that getManifest requests.
  - `registryUrl` (string): the host of the registry.
  - `tlsVerify` (boolean): whether the certificate of the registry is checked.

  # Result

  The image as a recipe, `getManifest`, and `detached`, as the result of pullImage.
*/
{
  checked,
  derive,
  check,
  detach,
  names,
  toolchain,
  program,
}:
{
  imageName,
  imageManifest ? null,
  imageTag ? "latest",
  os ? "linux",
  arch ? toolchain.arch,
  variant ? toolchain.variant,
  tlsVerify ? true,
  registryUrl ? "registry-1.docker.io",
  ...
}@arguments:
assert checked arguments;
let
  host = if registryUrl == "registry-1.docker.io" then "docker.io" else registryUrl;
  reference = "${host}/${imageName}";
  manifest =
    if imageManifest == null then
      throw "strata: pullImageFromManifest needs the argument imageManifest; its getManifest prints one"
    else
      builtins.fromJSON (builtins.readFile imageManifest);
  layers =
    manifest.layers
      or (throw "strata: argument imageManifest of pullImageFromManifest is not a manifest of one platform; getManifest prints one");
  blob = digest: {
    name = digest;
    value = "${derive {
      name = names.file digest;
      kind = "pull-blob";
      request = {
        reference = "${reference}:${imageTag}";
        inherit digest tlsVerify;
      };
      fixed = {
        hash = builtins.head (builtins.match "sha256:([0-9a-f]{64})" digest);
        mode = "flat";
      };
    }}";
  };
  platform = "${os}/${check.arch "pullImageFromManifest" "arch" arch}${if variant == null then "" else "/${variant}"}";
in
derive {
  inherit arguments;
  name = "${names.file imageName}.json";
  kind = "image-from-manifest";
  request = {
    manifest = "${builtins.path {
      path = imageManifest;
      name = "manifest.json";
    }}";
    origin = reference;
    blobs = builtins.listToAttrs (
      map blob ([ manifest.config.digest ] ++ map (layer: layer.digest) layers)
    );
  };
  passthru = image: {
    inherit imageName imageTag;
    getManifest = program.package "get-manifest" "Prints the manifest of ${reference}:${imageTag}" [
      "manifest"
      "${reference}:${imageTag}"
      "--platform"
      platform
      "--tls-verify=${if tlsVerify then "true" else "false"}"
    ];
    detached = detach {
      name = "${names.file imageName}-detached.json";
      output = image;
      inherit imageName imageTag;
    };
  };
}
