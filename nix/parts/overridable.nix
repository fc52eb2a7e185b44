# Results as lib.makeOverridable and stdenv give them: `.override` makes one of other arguments, `.overrideAttrs` one of
# another derivation.
#
#   overridable (arguments: …) { name = "x"; }
let
  changed = change: old: old // (if builtins.isFunction change then change old else change);
  # `{ … }`, `old: { … }` or `final: old: { … }`, as stdenv takes them.
  attributes =
    result: change: old:
    let
      once = if builtins.isFunction change then change old else change;
    in
    if builtins.isFunction once then change result old else once;
  overridable =
    function: arguments:
    let
      result = function arguments;
    in
    result
    // {
      override = change: overridable function (changed change arguments);
      # Both last, whichever comes first.
      overrideAttrs =
        change: overridable (arguments: withAttributes (function arguments) change) arguments;
    };
  withAttributes =
    result: change:
    let
      old = result.drvAttrs // {
        passthru = result.passthru or { };
        meta = result.meta or { };
      };
      new = old // attributes final change old;
      final =
        result
        // derivation (
          builtins.removeAttrs new [
            "meta"
            "passthru"
          ]
        )
        // new.passthru
        // {
          inherit (new) meta passthru;
        };
    in
    final;
in
overridable
