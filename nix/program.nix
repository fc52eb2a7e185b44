# Programs that are scripts. Those that run strata run the one that belongs to this library, so that bytes are the same.
{ derive, toolchain }:
let
  program =
    storeName: name: text:
    derive {
      name = storeName;
      kind = "program";
      request = { inherit name text; };
    };
  # strata with these arguments, and those that the program is given.
  strata = arguments: ''
    #!${toolchain.bash}/bin/bash
    exec ${toolchain.strata}/bin/strata ${arguments} "$@"
  '';
in
rec {
  # A package with bin/NAME, which is this text.
  script =
    name: text:
    program name name text
    // {
      meta.mainProgram = name;
    };
  package = name: arguments: script name (strata arguments);
  # The program itself.
  file = name: arguments: program name null (strata arguments);
}
