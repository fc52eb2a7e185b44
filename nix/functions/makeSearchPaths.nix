/**
  A script to source, that makes packages visible: Makes' makeSearchPaths.

  # Example

  ```nix
  makeSearchPaths { bin = [ pkgs.jq ]; export = [ [ "CPATH" pkgs.glib.dev "/include" ] ]; }
  ```

  # Arguments

  - `bin`, `rpath`, `pythonPackage`, … as Makes documents them: lists of packages, whose directories go to `PATH`,
    `LD_LIBRARY_PATH`, `PYTHONPATH`, …
  - `source`: scripts (or results of this function) to source, each alone or as a list with its arguments.
  - `export`: lists of a variable, a package and a path in it.
  - `append`: whether what the variables hold before stays, after what is added.

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
  # Whether `m` shows the script: nothing that the result says here.
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
