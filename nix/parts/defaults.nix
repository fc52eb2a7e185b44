# What buildImage and buildLayer do by default: those of this library, and those under `nix2container`.
{
  strata = {
    layering = "transfer";
    # Docker loads 125 layers; this leaves room for a base image's, and for those that are built on top.
    maxLayers = 64;
    metadata.created_by = "strata";
    # One time for all files, so that layers with equal files are equal.
    keepsArchiveTimes = false;
    # Whether nixUid and nixGid without initializeNixDatabase are refused.
    ownersNeedDatabase = true;
  };
  # (nix2container: default.nix, buildLayer and buildImage)
  nix2container = {
    layering = "popularity";
    maxLayers = 1;
    metadata.created_by = "nix2container";
    # (nix2container: pull request 231)
    keepsArchiveTimes = true;
    # nix2container ignores them.
    ownersNeedDatabase = false;
  };
}
