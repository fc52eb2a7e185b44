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
  - `envFiles`: the same as files: `$envTextPath` is a file with the value of `envText`.
  - `action`: a script that `m` runs when this is built, with the result as its first argument and what it is given after.
  - `help`: a Markdown file, which is in the result as README.md, and which `m SOURCE /JOB --help` shows.
  - `sha256`: the hash of the result, whose script may then use the network.
  - `local`: whether to always build it on this machine, without binary caches.
*/
{
  checked,
  lib,
  makeResult,
  makes,
  program,
  toolchain,
}:
{
  name,
  builder,
  action ? null,
  env ? { },
  envFiles ? { },
  help ? null,
  searchPaths ? { },
  sha256 ? null,
  local ? false,
  ...
}@arguments:
assert checked arguments;
let
  isNamed = variable: builtins.match "(__|env).*" variable != null;
  variables = env // envFiles;
  wrong = builtins.filter (variable: !isNamed variable) (builtins.attrNames variables);
  actionScript = program.text "makes-action-for-${lib.sanitizeDerivationName name}" (
    "#!${toolchain.host.bash}/bin/bash\n"
    + makes.script { } ''
      export PATH=${toolchain.path}''${PATH:+:$PATH}
      scriptName=$1
      shift
      if [[ -f ''${BASH_SOURCE%/*}/README.md ]]; then
        case ''${1-} in
          -h | --help) exec cat "''${BASH_SOURCE%/*}/README.md" ;;
          --) shift ;;
        esac
      fi
      set -- "$scriptName" "$@"
      ${action}
    ''
  );
in
if wrong != [ ] then
  throw "strata: argument env of makeDerivation: names start with env, and ${builtins.head wrong} does not"
else if help != null && builtins.match ".*\\.[mM][dD]" (toString help) == null then
  throw "strata: argument help of makeDerivation is a Markdown file, and ${toString help} does not end in .md"
else
  makeResult {
    inherit arguments;
    attributes =
      variables
      // {
        name = lib.sanitizeDerivationName name;
        inherit (toolchain) system;
        builder = toolchain.scripts.bash;
        args = [
          "-c"
          ''source "$scriptPath"''
        ];
        PATH = toolchain.path;
        script =
          makes.script searchPaths builder
          + (if action == null then "" else "\ncp ${actionScript} $out/makes-action.sh\n")
          + (if help == null then "" else "\ncp ${help} $out/README.md\n");
        passAsFile = [ "script" ] ++ builtins.attrNames envFiles;
        preferLocalBuild = local;
        allowSubstitutes = !local;
      }
      // lib.optionalAttrs (sha256 != null) {
        outputHash = sha256;
        outputHashAlgo = "sha256";
        outputHashMode = "recursive";
      };
  }
