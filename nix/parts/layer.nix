# A result for `layers` of buildImage and buildLayer. The fields of src/builder/layers.rs.
{ derive }:
{
  # A result of nix/parts/grouping.nix.
  group,
  reproducible,
  # A result of nix/parts/compressions.nix.
  compressed,
  arguments ? { },
}:
derive {
  inherit arguments;
  name = "layers.json";
  kind = "layers";
  inherit (group) closure;
  request = {
    grouping = group.request;
    inherit reproducible compressed;
  };
  passthru =
    layer:
    let
      own = {
        # This layer and all layers below it, lowest first.
        stack = group.below ++ [ (layer // own) ];
        # For the Nix database of an image.
        inherit (group) closure elsewhere;
      };
    in
    own;
}
