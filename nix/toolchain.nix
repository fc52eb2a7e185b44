# The one file that reads pkgs: a package set becomes the few tools the library needs.
{ pkgs }:
let
  platform = pkgs.stdenv.hostPlatform.system;
  cpu = builtins.head (builtins.match "([^-]+)-.*" platform);
  goarch = {
    aarch64 = "arm64";
    armv6l = "arm";
    armv7l = "arm";
    i686 = "386";
    powerpc64le = "ppc64le";
    riscv64 = "riscv64";
    s390x = "s390x";
    x86_64 = "amd64";
  };
  variants = {
    armv6l = "v6";
    armv7l = "v7";
  };
in
{
  # What runs derivations and what people run. Another package may be called strata: ours, which the overlay or the
  # caller has put there, knows this library.
  strata =
    if pkgs.buildPackages ? strata && pkgs.buildPackages.strata ? isStrata then
      pkgs.buildPackages.strata
    else
      pkgs.buildPackages.callPackage ./package.nix { };
  # For the programs that copy images.
  bash = pkgs.buildPackages.bash;
  # For scripts of the user's; the fields of src/derivation/script.rs.
  scripts = {
    bash = "${pkgs.buildPackages.bash}/bin/bash";
    path = builtins.concatStringsSep ":" (
      map (package: "${package}/bin") [
        pkgs.buildPackages.coreutils
        pkgs.buildPackages.findutils
        pkgs.buildPackages.gnugrep
        pkgs.buildPackages.gnused
        pkgs.buildPackages.gnutar
        pkgs.buildPackages.gzip
        pkgs.buildPackages.bash
      ]
    );
    fakeroot = "${pkgs.buildPackages.fakeroot}";
    utilLinux = "${pkgs.buildPackages.util-linux}";
    coreutils = "${pkgs.buildPackages.coreutils}";
  };
  # What dockerTools puts into images, and the function of it that fetches: users know its hashes.
  shell = pkgs.bashInteractive;
  shadow = pkgs.shadow;
  inherit (pkgs) dockerTools;
  # For what comes over the network.
  cacert = pkgs.buildPackages.cacert;
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
  system = pkgs.buildPackages.stdenv.hostPlatform.system;
  # The images' architecture, as OCI names it.
  arch = goarch.${cpu} or (throw "strata: no OCI architecture is known for ${platform}; give it as `arch`");
  # Its variant, where there are several.
  variant = variants.${cpu} or null;
}
