# The image that is built on, of whatever kind. The fields of src/build/base.rs.
{ derive }:
{
  fromImage,
  fromImageName ? null,
  fromImageTag ? null,
  arch,
  variant ? null,
  inheritConfig,
}:
{
  inherit inheritConfig;
  fromImage =
    if fromImage == null || fromImage == "" then
      null
    else
      derive {
        name = "base-image";
        kind = "base";
        request = {
          image = "${fromImage}";
          name = fromImageName;
          tag = fromImageTag;
          inherit arch variant;
        };
      };
}
