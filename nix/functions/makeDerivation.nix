/**
  A package from a bash script: Makes' makeDerivation.

  # Example

  ```nix
  makeDerivation {
    name = "custom-layer";
    env.envText = "my-file-contents";
    builder = ''
      mkdir -p $out/working-dir
      echo "$envText" > $out/working-dir/my-file
    '';
  }
  ```

  # Arguments

  - `name`: of the store path.
  - `builder`: the script, as text or a path. It stops at the first command that fails, finds coreutils, findutils, grep,
    sed, tar and gzip, and the functions of nix/makes/functions.sh (`copy`, `info`, `error`, …), and fills `$out`.
  - `env`: variables of the script; their names start with `env`.
  - `searchPaths`: as makeSearchPaths takes them.
  - `local`: whether it is always built here, and never asked of a cache.
*/
{
  makes,
  toolchain,
}:
{
  name,
  builder,
  env ? { },
  searchPaths ? { },
  local ? false,
}:
let
  isNamed = variable: builtins.match "(__)?env.*" variable != null;
  wrong = builtins.filter (variable: !isNamed variable) (builtins.attrNames env);
in
if wrong != [ ] then
  throw "strata: argument env of makeDerivation: names start with env, and ${builtins.head wrong} does not"
else
  derivation (
    env
    // {
      inherit name;
      inherit (toolchain) system;
      builder = toolchain.scripts.bash;
      args = [
        "-c"
        ''source "$scriptPath"''
      ];
      PATH = toolchain.scripts.path;
      script = makes.script searchPaths builder;
      passAsFile = [ "script" ];
      preferLocalBuild = local;
      allowSubstitutes = !local;
    }
  )
