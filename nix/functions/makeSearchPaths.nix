/**
  A script to source, that makes packages visible: Makes' makeSearchPaths.

  # Example

  ```nix
  makeSearchPaths { bin = [ pkgs.jq ]; export = [ [ "CPATH" pkgs.glib.dev "/include" ] ]; }
  ```

  # Arguments

  - `append` (boolean): whether the previous value of a variable is kept after the new directories.
  - `bin`, `ocamlBin`, `rubyBin` (list of packages): `/bin` of each, for `PATH`.
  - `nodeBin` (list of packages): `/.bin` of each, for `PATH`.
  - `crystalLib` (list of packages): `/lib` of each, for `CRYSTAL_LIBRARY_PATH`.
  - `javaClass` (list of packages): for `CLASSPATH`.
  - `kubeConfig` (list of packages): for `KUBECONFIG`.
  - `nodeModule` (list of packages): for `NODE_PATH`.
  - `ocamlLib` (list of packages): for `OCAMLPATH`.
  - `ocamlStublib` (list of packages): `/stublibs` of each, for `CAML_LD_LIBRARY_PATH`.
  - `pkgConfig` (list of packages): `/lib/pkgconfig` of each, for `PKG_CONFIG_PATH`.
  - `rpath` (list of packages): `/lib` and `/lib64` of each, for `LD_LIBRARY_PATH`.
  - `rubyGemPath` (list of packages): for `GEM_PATH`.
  - `pythonMypy` (list of packages): for `MYPYPATH`.
  - `pythonMypy38`, `pythonMypy39`, `pythonMypy310`, `pythonMypy311`, `pythonMypy312`, `pythonMypy313`, `pythonMypy314`, `pythonMypy315`
    (list of packages): the `site-packages` of this Python, for `MYPYPATH`.
  - `pythonPackage` (list of packages): for `PYTHONPATH`.
  - `pythonPackage38`, `pythonPackage39`, `pythonPackage310`, `pythonPackage311`, `pythonPackage312`, `pythonPackage313`, `pythonPackage314`, `pythonPackage315`
    (list of packages): the `site-packages` of this Python, for `PYTHONPATH`.
  - `export` (list of lists): `[ VARIABLE PACKAGE PATH ]` sets a variable to a path in a package.
  - `source` (list of paths or lists): scripts, or results of this function, to source; a list is a script with its arguments.
  - `withAction` (boolean): accepted for Makes; without effect.

  The result is a package with the script as `template`.
*/
{
  checked,
  check,
  derive,
  searchPaths,
}:
{
  append ? true,
  bin ? [ ],
  crystalLib ? [ ],
  javaClass ? [ ],
  kubeConfig ? [ ],
  nodeBin ? [ ],
  nodeModule ? [ ],
  ocamlBin ? [ ],
  ocamlLib ? [ ],
  ocamlStublib ? [ ],
  pkgConfig ? [ ],
  pythonMypy ? [ ],
  pythonPackage ? [ ],
  rpath ? [ ],
  rubyBin ? [ ],
  rubyGemPath ? [ ],
  pythonMypy38 ? [ ],
  pythonMypy39 ? [ ],
  pythonMypy310 ? [ ],
  pythonMypy311 ? [ ],
  pythonMypy312 ? [ ],
  pythonMypy313 ? [ ],
  pythonMypy314 ? [ ],
  pythonMypy315 ? [ ],
  pythonPackage38 ? [ ],
  pythonPackage39 ? [ ],
  pythonPackage310 ? [ ],
  pythonPackage311 ? [ ],
  pythonPackage312 ? [ ],
  pythonPackage313 ? [ ],
  pythonPackage314 ? [ ],
  pythonPackage315 ? [ ],
  export ? [ ],
  source ? [ ],
  # Whether `m` prints the script. It has no effect on the result here.
  withAction ? true,
  ...
}@arguments:
assert checked arguments;
let
  function = "makeSearchPaths";
  inherit (searchPaths) kinds;
  quoted = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] "${text}"}'";
  assign =
    variable: value:
    "export ${variable}=${quoted value}" + (if append then "\"\${${variable}:+:\$${variable}}\"" else "");
  # Each goes before those that came before it. (Makes: src/args/make-search-paths/default.nix)
  reversed = builtins.foldl' (rest: first: [ first ] ++ rest) [ ];
  search =
    name:
    let
      packages = check.list function name (arguments.${name} or [ ]);
      directories = reversed (
        builtins.concatMap (
          directory: map (package: "${package}${directory}") packages
        ) kinds.${name}.directories
      );
    in
    if directories == [ ] then
      [ ]
    else
      [ (assign kinds.${name}.variable (builtins.concatStringsSep ":" directories)) ];
  exported =
    entry:
    if builtins.isList entry && builtins.length entry == 3 then
      assign (builtins.elemAt entry 0) "${builtins.elemAt entry 1}${builtins.elemAt entry 2}"
    else
      throw "strata: argument export of ${function} is a list of [ \"VARIABLE\" package \"/path\" ]";
  sourced =
    entry:
    let
      words = if builtins.isList entry then entry else [ entry ];
      script = builtins.head words;
      line = file: builtins.concatStringsSep " " ([ "source" ] ++ map quoted ([ file ] ++ builtins.tail words));
    in
    # A package with a template, or a script.
    "if [[ -e ${script}/template ]]; then ${line "${script}/template"}; else ${line "${script}"}; fi";
  result = derive {
    name = "make-search-paths";
    kind = "files";
    request.texts.template = builtins.concatStringsSep "\n" (
      map exported (check.list function "export" export)
      ++ builtins.concatMap search (builtins.attrNames kinds)
      ++ map sourced (check.list function "source" source)
      ++ [ "" ]
    );
  };
in
result // { template = "${result}/template"; }
