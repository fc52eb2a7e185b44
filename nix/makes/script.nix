# What Makes' makeDerivation and makeScript share: how a script of the user's is run.
{
  makeSearchPaths,
  scriptText,
  searchPaths,
}:
{
  inherit (searchPaths) variables;
  # Strict options, the functions of functions.sh, the search paths, and then the user's script.
  script = paths: user: ''
    set -o errexit -o errtrace -o functrace -o nounset -o pipefail
    ${builtins.readFile ./functions.sh}
    ${if paths == { } then "" else "source ${(makeSearchPaths paths).template}"}
    ${scriptText user}
  '';
}
