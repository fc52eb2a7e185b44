/**
  A script to source, that makes packages visible: Makes' makeSearchPaths.

  # Example

  ```nix
  makeSearchPaths { bin = [ pkgs.jq ]; export = [ [ "CPATH" pkgs.glib.dev "/include" ] ]; }
  ```

  # Arguments

  - `bin`, `rpath`, `pythonPackage`, … as Makes documents them: lists of packages, whose directories go to the variable
    that the table below says.
  - `source`: scripts (or results of this function) to source, each alone or as a list with its arguments.
  - `export`: lists of a variable, a package and a path in it.
  - `append`: whether what the variables hold before stays, after what is added.

  The result is a package with the script as `template`.
*/
{ check, derive }:
let
  one = variable: directory: {
    inherit variable;
    directories = [ directory ];
  };
  kinds = {
    bin = one "PATH" "/bin";
    crystalLib = one "CRYSTAL_LIBRARY_PATH" "/lib";
    javaClass = one "CLASSPATH" "";
    kubeConfig = one "KUBECONFIG" "";
    nodeBin = one "PATH" "/.bin";
    nodeModule = one "NODE_PATH" "";
    ocamlBin = one "PATH" "/bin";
    ocamlLib = one "OCAMLPATH" "";
    ocamlStublib = one "CAML_LD_LIBRARY_PATH" "/stublibs";
    pkgConfig = one "PKG_CONFIG_PATH" "/lib/pkgconfig";
    pythonMypy = one "MYPYPATH" "";
    pythonPackage = one "PYTHONPATH" "";
    rpath = {
      variable = "LD_LIBRARY_PATH";
      directories = [
        "/lib"
        "/lib64"
      ];
    };
    rubyBin = one "PATH" "/bin";
    rubyGemPath = one "GEM_PATH" "/";
  }
  // pythons "pythonMypy" "MYPYPATH"
  // pythons "pythonPackage" "PYTHONPATH";
  # pythonPackage311 and the like.
  pythons =
    name: variable:
    builtins.listToAttrs (
      builtins.genList (at: {
        name = "${name}3${toString (at + 8)}";
        value = one variable "/lib/python3.${toString (at + 8)}/site-packages";
      }) 8
    );
  function = "makeSearchPaths";
in
{
  # Every variable that it may set, each once.
  variables = builtins.attrNames (
    builtins.listToAttrs (
      map (kind: {
        name = kind.variable;
        value = null;
      }) (builtins.attrValues kinds)
    )
  );
  takes = builtins.mapAttrs (_: _: true) kinds // {
    append = true;
    export = true;
    source = true;
    # Whether `m` shows the script: nothing that the result says here.
    withAction = true;
  };
  function =
    arguments:
    let
      append = arguments.append or true;
      values = name: check.list function name (arguments.${name} or [ ]);
      quoted = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] "${text}"}'";
      export =
        variable: value:
        "export ${variable}=${quoted value}" + (if append then "\"\${${variable}:+:\$${variable}}\"" else "");
      search =
        name:
        let
          directories = builtins.concatMap (
            package: map (directory: "${package}${directory}") kinds.${name}.directories
          ) (values name);
        in
        if directories == [ ] then
          [ ]
        else
          [ (export kinds.${name}.variable (builtins.concatStringsSep ":" directories)) ];
      exported =
        entry:
        if builtins.isList entry && builtins.length entry == 3 then
          export (builtins.elemAt entry 0) "${builtins.elemAt entry 1}${builtins.elemAt entry 2}"
        else
          throw "strata: argument export of ${function} is a list of [ \"VARIABLE\" package \"/path\" ]";
      sourced =
        entry:
        let
          words = if builtins.isList entry then entry else [ entry ];
          script = builtins.head words;
        in
        # A package with a template, or a script.
        "if [[ -e ${script}/template ]]; then ${source "${script}/template" words}; else ${source "${script}" words}; fi";
      source =
        file: words: builtins.concatStringsSep " " ([ "source" ] ++ map quoted ([ file ] ++ builtins.tail words));
      result = derive {
        name = "make-search-paths";
        kind = "files";
        request.texts.template = builtins.concatStringsSep "\n" (
          builtins.concatMap search (builtins.attrNames kinds)
          ++ map exported (values "export")
          ++ map sourced (values "source")
          ++ [ "" ]
        );
      };
    in
    result // { template = "${result}/template"; };
}
