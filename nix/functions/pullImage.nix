/**
  An image from a registry, for `fromImage`.

  # Example

  ```nix
  pullImage {
    imageName = "library/alpine";
    imageDigest = "sha256:115731bab0862031b44766733890091c17924f9b7781b79997f5f163be262178";
    sha256 = "sha256-o4GvFCq6pvzASvlI5BLnk+Y4UN6qKL2dowuT0cp8q7Q=";
  }
  ```

  # Arguments

  - `imageName` (string): `NAME`, or `HOST/NAME` for registries other than docker.io.
  - `imageDigest` (string): the digest of the manifest or index.
  - `sha256` (string): the hash of the result, which is the same as that of `skopeo copy` to a `dir:`.
  - `os` (string): the operating system to choose from an index.
  - `arch` (string): the architecture to choose from an index.
  - `variant` (string or null): the variant to choose from an index.
  - `tlsVerify` (boolean): whether the certificate of the registry is checked.
  - `name` (string): the name of the store path with the image.

  # Result

  The image as a recipe. Its `detached` has no references: a push takes its layers from their original registry, or from a binary cache.

  # Private registries

  Set `REGISTRY_AUTH_FILE` in the environment of the builder (of the Nix daemon, if there is one) to a file with credentials in docker's
  format, and add the file to the sandbox: `extra-sandbox-paths = /path/to/auth.json`. A file that is bound to
  `/etc/skopeo/auth.json` is found without the variable.
*/
{
  checked,
  derive,
  check,
  detach,
  names,
  toolchain,
}:
{
  imageName,
  imageDigest,
  sha256,
  os ? "linux",
  arch ? toolchain.arch,
  variant ? toolchain.variant,
  tlsVerify ? true,
  name ? names.file "docker-image-${imageName}",
  ...
}@arguments:
assert checked arguments;
let
  directory = derive {
    inherit name;
    kind = "pull";
    request = {
      reference = "${imageName}@${imageDigest}";
      arch = check.arch "pullImage" "arch" arch;
      inherit
        os
        variant
        tlsVerify
        ;
    };
    fixed = {
      hash = sha256;
      mode = "recursive";
    };
  };
in
derive {
  inherit arguments;
  name = "${names.file imageName}.json";
  kind = "image-from-dir";
  request = {
    directory = "${directory}";
    origin = imageName;
  };
  passthru = image: {
    inherit imageName imageDigest directory;
    detached = detach {
      name = "${names.file imageName}-detached.json";
      output = image;
      inherit imageName;
      imageTag = names.hash image;
    };
  };
}
