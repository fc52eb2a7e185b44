# Which store paths lie together: `layering`, `weights` and `previous` of every function that groups a closure. The
# fields of src/builder/layering.rs. `layering` may be what dockerTools calls layeringPipeline: a list of steps, or a JSON
# file of them.
{ check, strategies }:
function:
{
  layering,
  weights,
  previous,
  # nix2container's (pull request 220): a JSON file of lists of store paths, one list a layer.
  layersFile ? null,
  debug ? false,
}:
let
  isPath = builtins.isPath layering || layering ? outPath;
  isPathText = builtins.isString layering && builtins.substring 0 1 layering == "/";
in
{
  strategy =
    if builtins.isList layering || builtins.elem layering strategies then
      layering
    else if isPath || isPathText then
      "${layering}"
    else
      throw "strata: argument layering of ${function} must be ${builtins.concatStringsSep ", " strategies} or a layeringPipeline, not ${
        if builtins.isString layering then layering else "a ${builtins.typeOf layering}"
      }";
  weights = check.attrs function "weights" weights;
  previous =
    if previous == null then
      null
    # An image itself: its recipe lists the paths of its layers.
    else if previous ? recipe then
      "${previous.recipe}"
    else
      "${previous}";
  layersFile =
    if layersFile == null then
      null
    else if builtins.isPath layersFile || layersFile ? outPath || (builtins.isString layersFile && builtins.hasContext layersFile) then
      "${layersFile}"
    else
      throw "strata: argument layersFile of ${function} must be a JSON file of lists of store paths, not a ${builtins.typeOf layersFile}";
  inherit debug;
}
