# Checks a public function's arguments: a typo throws, with what there is instead.
#
#   checked "buildImage" { name = false; tag = true; } ({ name, ... }@arguments: …)
#
# The names are those of builtins.functionArgs: whether each has a default. The result shows them, as lib.setFunctionArgs
# does: lib.functionArgs and callPackage see what it takes.
{ check }:
name: known: function:
let
  list = names: builtins.concatStringsSep ", " names;
  checked =
    arguments:
    let
      unknown = builtins.filter (argument: !(known ? ${argument})) (builtins.attrNames arguments);
      missing = builtins.filter (argument: !known.${argument} && !(arguments ? ${argument})) (
        builtins.attrNames known
      );
      # None of ours takes a function, but for `image` of ociImageIndex. What is only passed on is not looked at.
      functions = builtins.filter (argument: check.isFunction arguments.${argument}) (
        builtins.attrNames (
          builtins.removeAttrs arguments [
            "image"
            "meta"
            "passthru"
          ]
        )
      );
    in
    if !builtins.isAttrs arguments || arguments ? outPath then
      throw "strata: ${name} takes an attribute set, not a ${
        if builtins.isAttrs arguments then "package" else builtins.typeOf arguments
      }; write ${name} { … }"
    else if unknown != [ ] then
      throw "strata: ${name} has no argument ${check.near (builtins.head unknown) (builtins.attrNames known)}"
    else if missing != [ ] then
      throw "strata: ${name} needs the argument ${list missing}"
    else if functions != [ ] then
      throw "strata: argument ${builtins.head functions} of ${name} is a function; call it, in parentheses where it stands in a list"
    else
      function arguments;
in
{
  __functor = _: checked;
  __functionArgs = known;
}
