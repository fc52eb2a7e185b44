/**
  A base image by reference, for `fromImage`: nothing of it is fetched for the build, and a push takes its layers from its
  registry.

  # Example

  ```nix
  buildImage {
    name = "app";
    fromImage = lockedImage ./alpine.json;
  }
  ```

  `strata lock docker://docker.io/library/alpine:3.20 --output alpine.json` writes the file, and `strata lock --update
  alpine.json` brings it up to date.

  # Arguments

  - the file, or `{ file; arch; variant; }`: which of its images is meant, if not the one for the machine that the package
    set is for.

  What needs the base's files in the build (scripts, the Nix database, archives and layouts in the store) needs pullImage.
*/
{
  checked,
  derive,
  names,
  toolchain,
}:
let
  function =
    {
      file,
      arch ? toolchain.arch,
      variant ? toolchain.variant,
    }:
    derive {
      name = "${names.file (baseNameOf file)}-image.json";
      kind = "image-from-lock";
      request = {
        file = "${builtins.path {
          path = file;
          name = "lock.json";
        }}";
        inherit arch variant;
      };
    };
in
argument:
checked "lockedImage" (builtins.functionArgs function) function (
  if builtins.isAttrs argument && !(argument ? outPath) then argument else { file = argument; }
)
