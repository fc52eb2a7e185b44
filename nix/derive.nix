# The one derivation constructor: `strata build` reads its request from the structured attributes, without a
# shell and without stdenv. src/derivation/attributes.rs documents the contract.
{ toolchain }:
{
  name,
  # What to make, and the fields of the kind's struct in src/derivation/.
  kind,
  request,
  # Derivations, paths or strings with context, whose closure the request is about.
  closure ? [ ],
  # For what comes over the network, with the credentials of this machine: { hash; mode = "flat" or "recursive"; }.
  fixed ? null,
  # Whether it is a program of the user's machine: made there, sooner than a cache would answer.
  onHost ? false,
}:
derivation (
  {
    inherit name;
    inherit (if onHost then toolchain.host else toolchain) system;
    builder = "${(if onHost then toolchain.host else toolchain).strata}/bin/strata";
    args = [ "build" ];
    __structuredAttrs = true;
    exportReferencesGraph = { inherit closure; };
    strata = {
      version = 1;
      inherit kind request;
    };
    # Everything else travels: remote builders make it, and caches have it.
    preferLocalBuild = onHost || fixed != null;
    allowSubstitutes = !onHost;
  }
  // (
    if fixed == null then
      { }
    else
      {
        outputHash = fixed.hash;
        outputHashAlgo = "sha256";
        outputHashMode = fixed.mode;
        NIX_SSL_CERT_FILE = "${toolchain.cacert}/etc/ssl/certs/ca-bundle.crt";
        impureEnvVars = [
          "http_proxy"
          "https_proxy"
          "all_proxy"
          "no_proxy"
          "REGISTRY_AUTH_FILE"
          "NIX_SSL_CERT_FILE"
        ];
      }
  )
)
