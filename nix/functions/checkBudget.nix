/**
  A check for a flake's `checks` that an image and its packages stay within a budget.

  # Example

  ```nix
  checks.budget = checkBudget {
    image = buildImage { name = "hello"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; };
    budget = ./budget.json;
  };
  ```

  `strata budget IMAGE budget.json --update` creates and updates the file.

  # Arguments

  - `image` (image or path): a result of buildImage, or an archive.
  - `budget` (path): the file with the sizes of images and packages in bytes.
*/
{ checked, derive }:
{
  image,
  budget,
  ...
}@arguments:
assert checked arguments;
derive {
  inherit arguments;
  name = "budget";
  kind = "budget";
  request = {
    image = "${image}";
    budget = "${builtins.path {
      path = budget;
      name = "budget.json";
    }}";
  };
}
