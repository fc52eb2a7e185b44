# Checks a public function's arguments: a typo throws, with what there is instead.
#
#   checked "buildImage" { name = false; tag = true; } ({ name, ... }@arguments: …)
#
# The names are those of builtins.functionArgs: whether each has a default. The result shows them, as lib.setFunctionArgs
# does: lib.functionArgs and callPackage see what it takes.
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
    in
    if !builtins.isAttrs arguments || arguments ? outPath then
      throw "strata: ${name} takes an attribute set, not a ${
        if builtins.isAttrs arguments then "package" else builtins.typeOf arguments
      }; write ${name} { … }"
    else if unknown != [ ] then
      throw "strata: ${name} has no argument ${list unknown}; it has ${list (builtins.attrNames known)}"
    else if missing != [ ] then
      throw "strata: ${name} needs the argument ${list missing}"
    else
      function arguments;
in
{
  __functor = _: checked;
  __functionArgs = known;
}
