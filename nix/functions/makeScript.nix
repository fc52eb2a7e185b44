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

  - `name`: of the program; the result has it as `bin/<name>`.
  - `entrypoint`: the script, as text or a path. It stops at the first command that fails, and finds what the builder of
    makeDerivation finds. It sees the caller's environment, but for search paths, which are those asked for; `HOME` is a
    directory of its own, `HOME_IMPURE` the caller's, and `STATE` a directory in the caller's cache.
  - `help`: a Markdown file, which the program shows when it is called with `--help`.
  - `replace`: what stands for each placeholder in the script; their names start with `__arg` and end with `__`.
  - `searchPaths`: as makeSearchPaths takes them.
  - `aliases`: other names of the program in the package.
  - `persistState`: whether `STATE` and `HOME` keep what they had when it runs again.
  - `globalState`: whether `STATE` is a directory that all scripts share, which keeps what it has.
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
