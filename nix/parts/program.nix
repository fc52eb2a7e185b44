# Programs that are scripts. A program that runs strata runs the one of this library, so that its bytes are the same. strata is
# also the interpreter, so that a machine with an empty store downloads no shell.
{
  derive,
  lib,
  toolchain,
}:
let
  program =
    storeName: request: more:
    derive (
      {
        name = storeName;
        kind = "program";
        onHost = true;
        inherit request;
      }
      // more
    );
  # A script that runs strata with these arguments and those of the script: src/cli/program.rs.
  strata =
    arguments:
    builtins.concatStringsSep "\n" (
      [ "#!${toolchain.host.strata}/bin/strata program" ] ++ arguments ++ [ "" ]
    );
in
rec {
  # A package with bin/NAME, which has this text, and with links of other names to it. `arguments` as makeResult takes them.
  script =
    {
      name,
      description ? null,
      text,
      aliases ? [ ],
      arguments ? { },
    }:
    program name { inherit name text aliases; } {
      inherit arguments;
      meta = {
        mainProgram = name;
      }
      // lib.optionalAttrs (description != null) { inherit description; };
    };
  package =
    name: description: arguments:
    script {
      inherit name description;
      text = strata arguments;
    };
  # The program itself, a file. `more` has further arguments of derive.
  file =
    name: arguments: more:
    program name { text = strata arguments; } more;
  text = name: content: program name { text = content; } { };
}
