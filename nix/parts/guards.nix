# What an image promises: `maxSize`, `maxLayerSize` and `forbiddenPaths`. The fields of src/builder/guards.rs.
{ check }:
function:
{
  maxSize,
  maxLayerSize,
  forbiddenPaths,
}:
let
  text = value: builtins.unsafeDiscardStringContext "${value}";
  limit =
    argument: value: if value == null then null else check.atLeast 1 function argument value;
in
{
  maxSize = limit "maxSize" maxSize;
  maxLayerSize = limit "maxLayerSize" maxLayerSize;
  # As text: what is forbidden is nothing that has to be built.
  forbiddenPaths = builtins.concatMap (
    forbidden:
    if forbidden ? outPath then
      map (output: text forbidden.${output}) (forbidden.outputs or [ "outPath" ])
    else if builtins.isString forbidden then
      [ (text forbidden) ]
    else
      throw "strata: argument forbiddenPaths of ${function} takes packages, store paths and names of packages, not a ${builtins.typeOf forbidden}"
  ) (check.list function "forbiddenPaths" forbiddenPaths);
}
