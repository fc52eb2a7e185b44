# What all jobs share. Each makes/NAME/main.nix is the job /NAME; small ones can be here.
#
#   m .                  lists the jobs
#   m . /example         builds one, and prints its path
#   m . /greet Alice     builds one that is a program, and runs it
{ inputs, makeScript, ... }:
{
  # inputs.nixpkgs is strata's own; this pins another:
  #
  #   inputs.nixpkgs = fetchNixpkgs { rev = "…"; sha256 = "…"; };

  jobs."/greet" = makeScript {
    name = "greet";
    replace.__argGreeting__ = "Hello";
    searchPaths.bin = [ inputs.nixpkgs.hello ];
    entrypoint = ''
      hello --greeting "__argGreeting__, ''${1:-world}!"
    '';
  };
}
