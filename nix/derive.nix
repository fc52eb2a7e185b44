# The only constructor of derivations that strata builds: `strata build` reads its request from the structured attributes,
# without a shell and without stdenv. src/builder/attributes.rs documents the contract.
{
  makeResult,
  toolchain,
}:
{
  name,
  # The kind of the output, and the fields of the kind's struct in src/builder/.
  kind,
  request,
  # Derivations, paths or strings with context. The builder receives their closure.
  closure ? [ ],
  # The outputs that the kind has.
  outputs ? [ "out" ],
  # { hash; mode = "flat" or "recursive"; } of a fixed output, which may use the network and the credentials of this machine.
  fixed ? null,
  # Whether the output is a program for the user's machine. It is built there and never substituted.
  onHost ? false,
  # As makeResult takes them.
  passthru ? _: { },
  meta ? { },
  arguments ? { },
}:
let
  builder = if onHost then toolchain.host else toolchain;
in
makeResult {
  inherit passthru meta arguments;
  attributes = {
    inherit name;
    inherit (builder) system;
    builder = "${builder.strata}/bin/strata";
    args = [ "build" ];
    __structuredAttrs = true;
    exportReferencesGraph = { inherit closure; };
    strata = {
      version = 1;
      inherit kind request;
    };
    # Remote builders build everything else, and binary caches have it.
    preferLocalBuild = onHost || fixed != null;
    allowSubstitutes = !onHost;
  }
  # The default is not written, so that it does not change derivations.
  // (if outputs == [ "out" ] then { } else { inherit outputs; })
  // (
    if fixed == null then
      { }
    else
      {
        outputHash = fixed.hash;
        outputHashAlgo = "sha256";
        outputHashMode = fixed.mode;
        # Used if the sandbox lacks the file that the machine's NIX_SSL_CERT_FILE names.
        certificateFile = "${toolchain.cacert}/etc/ssl/certs/ca-bundle.crt";
        impureEnvVars = [
          "http_proxy"
          "https_proxy"
          "all_proxy"
          "no_proxy"
          "REGISTRY_AUTH_FILE"
          "NIX_SSL_CERT_FILE"
        ];
      }
  );
}
