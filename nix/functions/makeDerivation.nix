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

  - `name` (string): the name of the store path.
  - `builder` (string or path): the script. It stops at the first command that fails. It has coreutils, findutils, grep, sed, tar and gzip,
    and the functions of nix/makes/functions.sh (`copy`, `info`, `error`, …), and writes to `$out`.
  - `env` (attribute set): variables of the script; their names start with `env`.
  - `envFiles` (attribute set): variables as files: `$envTextPath` is a file with the value of `envText`.
  - `searchPaths` (attribute set): arguments of makeSearchPaths.
  - `action` (string or null): a script that `m` runs after the build, with the result as its first argument, followed by the arguments of
    `m`.
  - `help` (path or null): a Markdown file. It is README.md in the result, and `m SOURCE /JOB --help` prints it.
  - `sha256` (string or null): the hash of the result; the script may then use the network.
  - `local` (boolean): whether to build on this machine, without binary caches.
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
