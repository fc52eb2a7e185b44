# A value as Nix makes an environment variable of it in a derivation.
let
  variable =
    value:
    if builtins.isList value then
      builtins.concatStringsSep " " (map variable value)
    # toString leaves paths where they are.
    else if builtins.isPath value || value ? outPath then
      "${value}"
    else
      toString value;
in
variable
