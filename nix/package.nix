# strata itself, for nixpkgs.
{
  lib,
  rustPlatform,
  # Without it, the package is what derivations run.
  network ? true,
}:
rustPlatform.buildRustPackage {
  pname = if network then "strata" else "strata-builder";
  buildNoDefaultFeatures = !network;
  inherit ((lib.importTOML ../Cargo.toml).package) version;
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../src
      ../benches
      ../tests
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;
  meta = {
    description = "OCI container images from Nix closures";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "strata";
  };
}
