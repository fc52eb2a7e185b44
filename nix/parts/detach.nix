# A recipe without references, so that a machine that pushes it needs no store path of the image: src/image/detached.rs.
# `output` is what has the recipe in the store, and `recipe` the image.json.
{
  copyPrograms,
  derive,
}:
{
  name,
  output,
  recipe ? "${output}",
  imageName,
  imageTag,
  attachments ? [ ],
  nixNode ? false,
}:
let
  detached = derive {
    inherit name;
    kind = "detached";
    request = {
      inherit recipe;
      output = "${output}";
      tag = imageTag;
    };
  };
in
detached
// copyPrograms {
  image = detached;
  reference = "${imageName}:${imageTag}";
  inherit attachments nixNode;
}
// {
  inherit imageName imageTag;
}
