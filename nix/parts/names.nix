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

  # As lib.sanitizeDerivationName makes names of store paths.
  derivation =
    name:
    let
      plain = builtins.head (builtins.match "\\.*(.*)" name);
      parts = builtins.split "[^[:alnum:]+._?=-]+" plain;
      text = builtins.concatStringsSep "" (map (part: if builtins.isList part then "-" else part) parts);
      length = builtins.stringLength text;
    in
    if text == "" then
      "unknown"
    else
      builtins.substring (if length > 207 then length - 207 else 0) 207 text;

  # The value of copyToRoot, which was once called contents.
  renamed =
    function: copyToRoot: contents:
    if contents == null then
      copyToRoot
    else if copyToRoot == null then
      contents
    else
      throw "strata: ${function} has both copyToRoot and contents, its old name; put everything in copyToRoot";

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
