/**
  A base image by reference, for `fromImage`: the build does not download it, and a push takes its layers directly from its
  registry.

  # Example

  ```nix
  buildImage {
    name = "app";
    fromImage = lockedImage ./alpine.json;
  }
  ```

  `strata lock docker://docker.io/library/alpine:3.20 --output alpine.json` writes the file, and `strata lock --update
  alpine.json` updates it.

  # Arguments

  - `file` (path): the lock file. `lockedImage ./alpine.json` is `lockedImage { file = ./alpine.json; }`.
  - `arch` (string): the architecture of the image in the lock file.
  - `variant` (string or null): the variant of the architecture.

  Scripts, the Nix database, and archives and layouts in the store need the base's files during the build; use pullImage for
  them.
*/
{
  checkArguments,
  derive,
  check,
  names,
  toolchain,
}:
let
  function =
    {
      file,
      arch ? toolchain.arch,
      variant ? toolchain.variant,
      ...
    }@arguments:
    assert checkArguments "lockedImage" (builtins.functionArgs function) arguments;
    derive {
      inherit arguments;
      name = "${names.file (baseNameOf file)}-image.json";
      kind = "image-from-lock";
      request = {
        file = "${builtins.path {
          path = file;
          name = "lock.json";
        }}";
        arch = check.arch "lockedImage" "arch" arch;
        inherit variant;
      };
      # The recipe mentions no store path.
      passthru = image: { detached = image; };
    };
in
argument:
function (
  if builtins.isAttrs argument && !(argument ? outPath) then argument else { file = argument; }
)
