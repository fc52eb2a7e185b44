# `compressed`: which compressed digests a recipe notes. The field of src/builder/compressed.rs.
function: compressed:
let
  known = [
    "gzip"
    "zstd"
    "zstd:chunked"
  ];
in
if compressed == null || builtins.elem compressed known then
  compressed
else
  throw "strata: argument compressed of ${function} must be null, ${builtins.concatStringsSep ", " known}, not ${
    if builtins.isString compressed then compressed else "a ${builtins.typeOf compressed}"
  }"
