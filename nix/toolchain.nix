# The few tools that the library needs, from package sets:
#
#   pkgs                 what goes into images
#   pkgs.buildPackages   what runs derivations
#   hostPkgs             what runs the programs that copy images
{ pkgs, hostPkgs }:
let
  inherit (pkgs) buildPackages;
  platform = pkgs.stdenv.hostPlatform;
  paths =
    packages: builtins.concatStringsSep ":" (map (package: "${package.bin or package}/bin") packages);
  few = [
    buildPackages.coreutils
    buildPackages.findutils
    buildPackages.gnugrep
    buildPackages.gnused
    buildPackages.gnutar
    buildPackages.gzip
    buildPackages.bash
  ];
in
{
  inherit (buildPackages.stdenv.hostPlatform) system;
  # What runs derivations.
  strata = import ./strata.nix buildPackages;
  # For programs: what people run.
  host = {
    inherit (hostPkgs.stdenv.hostPlatform) system;
    inherit (hostPkgs) bash;
    strata = import ./strata.nix hostPkgs;
  };
  # For Makes' scripts.
  path = paths few;
  # For scripts of the user's; the fields of src/builder/script.rs.
  scripts = {
    bash = "${buildPackages.bash}/bin/bash";
    # What stdenv has. (nixpkgs: pkgs/stdenv/generic/common-path.nix)
    path = paths (
      few
      ++ [
        buildPackages.diffutils
        buildPackages.gawk
        buildPackages.bzip2
        buildPackages.gnumake
        buildPackages.patch
        buildPackages.xz
        buildPackages.file
        # For extended attributes.
        buildPackages.attr
        buildPackages.libcap
      ]
    );
    functions = "${./parts/script-functions.sh}";
    fakeroot = "${buildPackages.fakeroot}";
    utilLinux = "${buildPackages.util-linux}";
    attr = "${buildPackages.attr.bin or buildPackages.attr}";
  };
  # What dockerTools puts into images.
  shell = pkgs.bashInteractive;
  certificates = pkgs.cacert;
  inherit (pkgs) coreutils shadow;
  # nixpkgs' own, also where an overlay has put ours in its place.
  dockerTools =
    if pkgs.dockerTools ? strata then
      pkgs.callPackage (pkgs.path + "/pkgs/build-support/docker") { }
    else
      pkgs.dockerTools;
  # For what comes over the network.
  cacert = buildPackages.cacert;
  # Where the package set is imported from, for `m`. In the store, so that it stays as long as `m` does.
  packages =
    let
      path = toString pkgs.path;
      inStore = builtins.match "(${builtins.storeDir}/[^/]+).*" path;
    in
    if inStore == null then
      path
    else
      builtins.appendContext path { ${builtins.head inStore}.path = true; };
  # The directory of the package set, with which positions of its packages begin; empty if it is unknown.
  packageSet = toString (pkgs.path or "");
  # The images' architecture, as OCI names it: as Go does.
  arch =
    let
      known = platform.go.GOARCH or null;
    in
    if known == null then
      throw "strata: no OCI architecture is known for ${platform.system}; give it as `arch`"
    else
      known;
  # Its variant, where there are several.
  variant =
    let
      version = platform.go.GOARM or "";
    in
    if version == "" then null else "v${version}";
}
