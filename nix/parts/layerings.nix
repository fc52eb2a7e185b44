# Which store paths lie together: `layering`, `weights` and `previous` of every function that groups a closure. The
# fields of src/builder/layering.rs. `layering` may be what dockerTools calls layeringPipeline: a list of steps, or a JSON
# file of them, or a strategy with options: { strategy = "transfer"; separateStart = true; }.
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
  hasOptions = builtins.isAttrs layering && !(layering ? outPath);
  given =
    if hasOptions then
      check.keys [ "strategy" "separateStart" ] function "layering" layering
    else
      { strategy = layering; };
  strategy =
    given.strategy or (throw "strata: argument layering of ${function} has no strategy; write { strategy = \"transfer\"; … }");
  isPath = builtins.isPath strategy || strategy ? outPath;
  isPathText = builtins.isString strategy && builtins.substring 0 1 strategy == "/";
in
{
  strategy =
    if builtins.isList strategy || builtins.elem strategy strategies then
      strategy
    else if isPath || isPathText then
      "${strategy}"
    else
      throw "strata: argument layering of ${function} must be ${builtins.concatStringsSep ", " strategies} or a layeringPipeline, not ${
        if builtins.isString strategy then strategy else "a ${builtins.typeOf strategy}"
      }";
  separateStart =
    let
      wanted = check.bool function "layering: separateStart" (given.separateStart or false);
    in
    if wanted && strategy != "transfer" then
      throw "strata: argument layering of ${function}: separateStart is for the strategy \"transfer\"; remove it, or choose this strategy"
    else if wanted && function == "buildLayer" then
      throw "strata: argument layering of buildLayer: separateStart is for functions with a configuration; remove it here, and use it in buildImage"
    else
      wanted;
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
