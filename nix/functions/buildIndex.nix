/**
  The images of several platforms as one image. The result is an index of recipes; layers are generated on demand.

  # Example

  ```nix
  buildIndex { images = { inherit (self.packages) x86_64-linux aarch64-linux; }; }
  ```

  # Arguments

  - `images` (attribute set of images): results of buildImage, makeContainerImage or dockerTools by system, or packages that have one as
    `image` or `default`. Their platforms must differ.
  - `name` (string or null): the name of the index; null is that of the images, if all have the same.
  - `tag` (string or null): the tag of the index; null is that of the images, if all have the same, or the hash in the store path of the
    result.
  - `annotations` (attribute set of strings): annotations of the index, besides the `annotations` without store paths that all images
    have.

  # Result

  The copy programs of buildImage, `detached`, `digest` and `reference`. `copyToRegistry` pushes all platforms, the other
  programs copy the image of the machine's platform; `copyTo` takes `--all`.
*/
{
  checked,
  check,
  copyPrograms,
  derive,
  digests,
  lib,
  names,
}:
{
  images,
  name ? null,
  tag ? null,
  annotations ? { },
  meta ? { },
  ...
}@arguments:
assert checked arguments;
let
  function = "buildIndex";
  isImage = value: value ? imageName && value ? imageTag;
  own = builtins.mapAttrs (
    system: value:
    if isImage value then
      value
    else if value ? image && isImage value.image then
      value.image
    else if value ? default && isImage value.default then
      value.default
    else
      throw "strata: argument images of ${function} has no image for ${system}; write ${system} = buildImage { … }"
  ) (check.attrs function "images" images);
  all = builtins.attrValues own;
  first = builtins.head all;
  same = attribute: builtins.all (image: image.${attribute} == first.${attribute}) all;
  imageName =
    if name != null then
      lib.toLower (check.name function "name" name)
    else if same "imageName" then
      first.imageName
    else
      throw "strata: the images of ${function} have different names; give the argument name";
  givenTag = if check.tag function "tag" tag != null then tag else if same "imageTag" then first.imageTag else null;
  storeName = names.base imageName;
  shared = lib.filterAttrs (
    key: value:
    !builtins.hasContext value && builtins.all (image: (image.annotations or { }).${key} or null == value) all
  ) (first.annotations or { });
  index =
    suffix: images: passthru:
    derive {
      inherit arguments passthru;
      meta = {
        description = "Container image ${imageName} for several platforms";
      }
      // check.attrs function "meta" meta;
      name = "index-${storeName}${suffix}.json";
      kind = "image-index";
      request = {
        inherit images;
        name = imageName;
        tag = givenTag;
        annotations = shared // check.strings function "annotations" annotations;
      };
    };
  attributes =
    index:
    let
      imageTag = if givenTag == null then names.hash index else givenTag;
      reference = "${imageName}:${imageTag}";
    in
    {
      inherit imageName imageTag;
    }
    // copyPrograms {
      image = index;
      inherit reference;
      isIndex = true;
    };
in
if all == [ ] then
  throw "strata: argument images of ${function} is empty; give an image for each platform"
else
  index "" (builtins.mapAttrs (_: names.source) own) (
    drv:
    attributes drv
    // digests {
      image = drv;
      reference = with attributes drv; "${imageName}:${imageTag}";
      name = storeName;
    }
    // {
      images = own;
      detached = index "-detached" (builtins.mapAttrs (_: image: "${image.detached}") own) attributes;
    }
  )
