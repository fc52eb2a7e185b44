# Checks of single arguments; each gives the value back or throws what to write instead.
let
  fail =
    function: argument: expected: value:
    throw "strata: argument ${argument} of ${function} must be ${expected}, not ${
      if builtins.isInt value then toString value else "a ${builtins.typeOf value}"
    }";
in
{
  attrs =
    function: argument: value:
    if builtins.isAttrs value && !(value ? drvPath) then
      value
    else
      fail function argument "an attribute set" value;

  list =
    function: argument: value:
    if builtins.isList value then value else fail function argument "a list" value;

  string =
    function: argument: value:
    if builtins.isString value then value else fail function argument "a string" value;

  # A number of layers.
  atLeast =
    least: function: argument: value:
    if builtins.isInt value && value >= least then
      value
    else
      fail function argument "a number, ${toString least} or more" value;
}
