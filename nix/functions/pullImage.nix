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

  - `imageName`: `name`, or `host/name` where it is not docker.io.
  - `imageDigest`: of its manifest or index.
  - `sha256`: of what skopeo writes to a `dir:`, and of what this writes: they are the same.
  - `os`, `arch`, `variant`: which image of an index to pull.
  - `tlsVerify`: whether the registry's certificate is checked.

  # Result

  The image as a recipe. `detached` of it has no references: a push takes its layers from the registry that they came from,
  or from a binary cache.

  # Private registries

  `REGISTRY_AUTH_FILE` of whoever builds (the daemon, where there is one) names a file with credentials, in docker's
  format. It must be in the sandbox: `extra-sandbox-paths = /path/to/auth.json`. One that is bound to
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
