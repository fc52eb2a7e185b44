/**
  A program from a bash script: Makes' makeScript.

  # Example

  ```nix
  makeScript {
    name = "greet";
    replace.__argWho__ = "world";
    searchPaths.bin = [ pkgs.hello ];
    entrypoint = ''
      hello --greeting="Hello, __argWho__: $*"
    '';
  }
  ```

  # Arguments

  - `name` (string): the name of the program, `bin/<name>` in the result.
  - `entrypoint` (string or path): the script. It stops at the first command that fails, and has the programs of the builder of
    makeDerivation. It has the environment of the caller, except search paths, which are those of `searchPaths`. `HOME` is a directory of
    the script, `HOME_IMPURE` that of the caller, and `STATE` a directory in the caller's cache.
  - `help` (path or null): a Markdown file, which the program prints with `--help`.
  - `replace` (attribute set): values for placeholders in the script; their names start with `__arg` and end with `__`.
  - `searchPaths` (attribute set): arguments of makeSearchPaths.
  - `aliases` (list of strings): further names of the program in the package.
  - `persistState` (boolean): whether `STATE` and `HOME` are kept between runs.
  - `globalState` (boolean): whether `STATE` is a directory that all scripts share, and is kept between runs.
*/
{
  checked,
  lib,
  makes,
  program,
  scriptText,
  toolchain,
  variable,
}:
{
  name,
  entrypoint,
  help ? null,
  replace ? { },
  searchPaths ? { },
  aliases ? [ ],
  persistState ? false,
  globalState ? false,
  ...
}@arguments:
assert checked arguments;
let
  placeholders = builtins.attrNames replace;
  wrong = builtins.filter (
    placeholder: builtins.match "__arg[[:alnum:]_]*__" placeholder == null
  ) placeholders;
in
if wrong != [ ] then
  throw "strata: argument replace of makeScript: names are as __argName__, and ${builtins.head wrong} is not"
else
  program.script {
    inherit arguments;
    name = lib.sanitizeDerivationName name;
    aliases = map lib.sanitizeDerivationName aliases;
    text = ''
      #!${toolchain.host.bash}/bin/bash
      ${
        if help == null then
          ""
        else
          "case \${1-} in -h | --help) exec ${toolchain.coreutils}/bin/cat ${help} ;; --) shift ;; esac"
      }
      export HOME_IMPURE=''${HOME_IMPURE:-''${HOME:-/tmp}}
      unset ${builtins.concatStringsSep " " makes.variables}
      export PATH=${toolchain.path}
      state=''${XDG_CACHE_HOME:-$HOME_IMPURE/.cache}/strata/state
      export STATE=$state${if globalState then "" else "/${lib.sanitizeDerivationName name}"}
      ${if persistState || globalState then "" else "rm -rf \"$STATE\""}
      export HOME=$state/${lib.sanitizeDerivationName name}/home
      mkdir -p "$HOME"
      ${makes.script searchPaths (
        builtins.replaceStrings placeholders (map (placeholder: variable replace.${placeholder}) placeholders) (
          scriptText entrypoint
        )
      )}
    '';
  }
