# A derivation with the attributes that nixpkgs' functions expect of one (lib.lazyDerivation, lib.getExe, callPackage):
# `outputs`, `meta` with `position`, `passthru`, `overrideAttrs`.
{ lib }:
let
  makeResult =
    {
      # The arguments of `derivation`.
      attributes,
      # The further attributes of the result, as a function of the derivation, so that overrideAttrs changes them too.
      passthru ? _: { },
      meta ? { },
      # The arguments that the user wrote, whose position is that of the result.
      arguments ? { },
    }:
    let
      drv = derivation attributes;
      own = passthru drv;
      names = if arguments ? name then [ "name" ] else builtins.attrNames arguments;
      position =
        if names == [ ] then null else builtins.unsafeGetAttrPos (builtins.head names) arguments;
      # Expressions on the command line have no file.
      isFile = position != null && builtins.match "/[^\n]*" (toString position.file) != null;
      result =
        drv
        // own
        // {
          outputs = attributes.outputs or [ "out" ];
          passthru = own;
          meta =
            lib.optionalAttrs isFile {
              position = "${position.file}:${toString position.line}";
            }
            // meta;
          overrideAttrs =
            change:
            let
              # The attributes after the change, for a derivation with `passthru`.
              changed =
                drv:
                let
                  old = attributes // {
                    inherit (result) meta;
                    passthru = passthru drv;
                  };
                in
                old // overlay final old;
              # `{ … }`, `old: { … }` or `final: old: { … }`, as stdenv takes them.
              overlay =
                final: old:
                let
                  once = if lib.isFunction change then change old else change;
                in
                if lib.isFunction once then change final old else once;
              final = makeResult {
                attributes = builtins.removeAttrs (changed drv) [
                  "meta"
                  "passthru"
                ];
                # Attributes of the library stay where `passthru` is set without the old one.
                passthru = drv: passthru drv // (changed drv).passthru;
                inherit (changed drv) meta;
                inherit arguments;
              };
            in
            final;
        };
    in
    result;
in
makeResult
