# Names and tags, as every function that makes images treats them.
{
  # What follows the last slash: the store path's name.
  base = baseNameOf;

  # As a store path may be named.
  file =
    builtins.replaceStrings
      [
        "/"
        ":"
        "@"
      ]
      [
        "-"
        "-"
        "-"
      ];

  # The value of copyToRoot, which was once called contents.
  renamed =
    function: copyToRoot: contents:
    if contents == null then
      copyToRoot
    else if copyToRoot == null then
      contents
    else
      throw "strata: ${function} has both copyToRoot and contents, its old name; put everything in copyToRoot";

  # The file from which an image is read: the recipe if it has one, whose store paths need no unpacking.
  source = image: if image ? recipe then "${image.recipe}/image.json" else "${image}";

  # The store path that a file is in, as exportReferencesGraph takes it; packages and paths as they are.
  storePath =
    value:
    let
      found = builtins.match "(${builtins.storeDir}/[^/]+)/.*" (builtins.unsafeDiscardStringContext value);
    in
    if !builtins.isString value || found == null then
      value
    else
      builtins.appendContext (builtins.head found) (builtins.getContext value);

  # The hash part of a derivation's output path: the tag of images that are given none.
  hash =
    drv:
    builtins.substring (builtins.stringLength builtins.storeDir + 1) 32 (
      builtins.unsafeDiscardStringContext drv.outPath
    );
}
