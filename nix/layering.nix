# Which store paths lie together: `layering`, `weights` and `previous` of every function that groups a closure. The
# fields of src/build/layering.rs.
{ check }:
function:
{
  layering,
  weights,
  previous,
}:
let
  known = [
    "auto"
    "popularity"
    "transfer"
  ];
in
{
  strategy =
    if builtins.elem layering known then
      layering
    else
      throw "strata: argument layering of ${function} must be ${builtins.concatStringsSep ", " known}, not ${
        if builtins.isString layering then layering else "a ${builtins.typeOf layering}"
      }";
  weights = check.attrs function "weights" weights;
  previous = if previous == null then null else "${previous}";
}
