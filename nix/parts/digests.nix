# For tools that pin images by digest: `digest` is a file with the digest of the manifest that a push to an empty registry
# writes, and `reference` one with NAME:TAG@DIGEST. `.override { compression = "zstd"; }` gives those of another compression.
# The request of src/builder/digest.rs.
{ check, derive, lib }:
{
  # The recipe.
  image,
  # NAME:TAG.
  reference,
  name,
  # Whether copyToRegistry pushes it for nodes with a Nix store.
  nixNode ? false,
}:
let
  compressions = [
    "gzip"
    "none"
    "zstd"
    "zstd:chunked"
  ];
  file =
    attribute: text:
    lib.makeOverridable (
      {
        compression ? "gzip",
      }:
      derive {
        name = "${name}-${attribute}";
        kind = "digest";
        request = {
          inherit image nixNode;
          reference = text;
          compression =
            if builtins.elem compression compressions then
              compression
            else
              throw "strata: argument compression of ${attribute}.override has ${
                check.near (check.string "${attribute}.override" "compression" compression) compressions
              }";
        };
      }
    ) { };
in
{
  digest = file "digest" null;
  reference = file "reference" (builtins.unsafeDiscardStringContext reference);
}
