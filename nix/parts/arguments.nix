# Checks the arguments of a public function: a typo throws, with what there is instead.
#
#   { name, tag ? null, ... }@arguments:
#   assert checked arguments;
#
# Functions are lambdas with their arguments written out: builtins.functionArgs shows them. `...` lets the others in, for a
# better message than Nix has. `known` is the result of builtins.functionArgs for the function.
{ check, types }:
name: known: arguments:
let
  unknown = builtins.filter (argument: !(known ? ${argument})) (builtins.attrNames arguments);
  # No argument of the library is a function, except `image` of ociImageIndex. Arguments that are only passed on are not checked.
  functions = builtins.filter (argument: check.isFunction arguments.${argument}) (
    builtins.attrNames (
      builtins.removeAttrs arguments [
        "image"
        "meta"
        "passthru"
      ]
    )
  );
  isTyped =
    argument:
    let
      type = types."${name}.${argument}" or types.${argument} or null;
    in
    type == null || builtins.seq (type name argument arguments.${argument}) true;
in
if !builtins.isAttrs arguments || arguments ? outPath then
  throw "strata: ${name} takes an attribute set, not a ${
    if builtins.isAttrs arguments then "package" else builtins.typeOf arguments
  }; write ${name} { … }"
else if unknown != [ ] then
  throw "strata: ${name} has no argument ${check.near (builtins.head unknown) (builtins.attrNames known)}"
else if functions != [ ] then
  throw "strata: argument ${builtins.head functions} of ${name} is a function; call it, in parentheses where it stands in a list"
else
  builtins.all isTyped (builtins.attrNames arguments)
