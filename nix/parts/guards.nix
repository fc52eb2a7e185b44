# What an image promises: `maxSize`, `maxLayerSize` and `forbiddenPaths`. The fields of src/derivation/guards.rs.
{ check }:
function:
{
  maxSize,
  maxLayerSize,
  forbiddenPaths,
}:
let
  limit =
    argument: value: if value == null then null else check.atLeast 1 function argument value;
in
{
  maxSize = limit "maxSize" maxSize;
  maxLayerSize = limit "maxLayerSize" maxLayerSize;
  forbiddenPaths = check.list function "forbiddenPaths" forbiddenPaths;
}
