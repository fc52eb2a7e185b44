# Programs that are scripts. Those that run strata run the one that belongs to this library, so that bytes are the same;
# their interpreter is strata itself, so that a machine that has nothing fetches no shell for them.
{ derive, toolchain }:
let
  program =
    storeName: request:
    derive {
      name = storeName;
      kind = "program";
      onHost = true;
      inherit request;
    };
  # strata with these arguments, and those that the program is given: src/command/program.rs.
  strata =
    arguments:
    builtins.concatStringsSep "\n" ([ "#!${toolchain.host.strata}/bin/strata program" ] ++ arguments ++ [ "" ]);
in
rec {
  # A package with bin/NAME, which is this text, under other names too.
  script =
    {
      name,
      text,
      aliases ? [ ],
    }:
    program name { inherit name text aliases; }
    // {
      meta.mainProgram = name;
    };
  package =
    name: arguments:
    script {
      inherit name;
      text = strata arguments;
    };
  # The program itself.
  file = name: arguments: text name (strata arguments);
  text = name: content: program name { text = content; };
}
