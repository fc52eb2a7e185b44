# What buildImage and buildLayer do where nothing else is said: this library's functions, and those under `nix2container`.
{
  strata = {
    layering = "popularity";
    maxLayers = 1;
    metadata.created_by = "nix2container";
  };
  # (nix2container: default.nix, buildLayer and buildImage)
  nix2container = {
    layering = "popularity";
    maxLayers = 1;
    metadata.created_by = "nix2container";
  };
}
