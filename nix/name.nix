# Names and tags, as every function that makes images treats them.
{
  # What follows the last slash: the store path's name.
  base = baseNameOf;

  # Registries know lower case only.
  lower =
    let
      letters = text: builtins.genList (at: builtins.substring at 1 text) 26;
    in
    builtins.replaceStrings (letters "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (letters "abcdefghijklmnopqrstuvwxyz");

  # The hash part of a derivation's output path: the tag of images that are given none.
  hash =
    drv:
    builtins.substring (builtins.stringLength builtins.storeDir + 1) 32 (
      builtins.unsafeDiscardStringContext drv.outPath
    );
}
