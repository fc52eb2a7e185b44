# The one derivation constructor: `strata build` reads its request from the structured attributes, without a
# shell and without stdenv. src/build/attributes.rs documents the contract.
{ toolchain }:
{
  name,
  # What to make, and the fields of the kind's struct in src/build/.
  kind,
  request,
  # Derivations, paths or strings with context, whose closure the request is about.
  closure ? [ ],
}:
derivation {
  inherit name;
  inherit (toolchain) system;
  builder = "${toolchain.builder}/bin/strata";
  args = [ "build" ];
  __structuredAttrs = true;
  exportReferencesGraph = { inherit closure; };
  strata = {
    version = 1;
    inherit kind request;
  };
  # Whoever has the closure makes this faster than a cache could send it.
  preferLocalBuild = true;
  allowSubstitutes = false;
}
