# `compressed`: which compressed digests a recipe notes, the field of src/builder/compressed.rs. `compressor` is its name in
# nix2container's pull requests 222 and 223.
function:
{ compressed, compressor }:
let
  given =
    if compressor == null then
      compressed
    else if compressed == null then
      compressor
    else
      throw "strata: ${function} has both compressed and compressor, its name in nix2container; give one";
  known = [
    "gzip"
    "zstd"
    "zstd:chunked"
  ];
in
if given == null || builtins.elem given known then
  given
else
  throw "strata: argument compressed of ${function} must be null, ${builtins.concatStringsSep ", " known}, not ${
    if builtins.isString given then given else "a ${builtins.typeOf given}"
  }"
