# Makes' search paths: which directories of packages go to which variable, and all of these variables.
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
in
{
  inherit kinds;
  # Every variable that it may set, each once.
  variables = builtins.attrNames (
    builtins.listToAttrs (
      map (kind: {
        name = kind.variable;
        value = null;
      }) (builtins.attrValues kinds)
    )
  );
}
