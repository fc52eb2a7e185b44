# The image that is built on, of whatever kind. The fields of src/builder/base.rs.
{ derive, names }:
{
  fromImage,
  fromImageName ? null,
  fromImageTag ? null,
  arch,
  variant ? null,
  # Whether its configuration holds; null stands for what dockerTools takes of it, `Env`.
  inheritConfig,
  # Whether its links to directories stay where a layer on it has a directory.
  keepBaseDirlinks,
  # Whether it may be for another platform than the image on it.
  allowOtherBasePlatform ? false,
}:
{
  keepDirlinks = keepBaseDirlinks;
  inheritConfig =
    if inheritConfig == null then
      "env"
    else if inheritConfig then
      "all"
    else
      "nothing";
  fromImage =
    if fromImage == null || fromImage == "" then
      null
    else
      derive {
        name = "base-image";
        kind = "base";
        request = {
          image = names.source fromImage;
          name = fromImageName;
          tag = fromImageTag;
          inherit arch variant;
        }
        // (if allowOtherBasePlatform then { anyPlatform = true; } else { });
      };
}
