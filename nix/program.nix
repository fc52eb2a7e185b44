# Programs: strata with these arguments, and those they are given. Each runs the strata that belongs to this library, so
# that bytes are the same.
{ derive, toolchain }:
let
  script =
    storeName: name: arguments:
    derive {
      name = storeName;
      kind = "program";
      request = {
        inherit name;
        text = ''
          #!${toolchain.bash}/bin/bash
          exec ${toolchain.strata}/bin/strata ${arguments} "$@"
        '';
      };
    };
in
{
  # A package with bin/NAME.
  package =
    name: arguments:
    script name name arguments
    // {
      meta.mainProgram = name;
    };
  # The program itself.
  file = name: script name null;
}
