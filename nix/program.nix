# A package with one program, bin/NAME: strata with these arguments, and those it is given.
# It runs the strata that belongs to this library, so that bytes are the same.
{ derive, toolchain }:
name: arguments:
derive {
  inherit name;
  kind = "program";
  request = {
    inherit name;
    text = ''
      #!${toolchain.bash}/bin/bash
      exec ${toolchain.strata}/bin/strata ${arguments} "$@"
    '';
  };
}
// {
  meta.mainProgram = name;
}
