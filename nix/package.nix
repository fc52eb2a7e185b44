# strata itself, for nixpkgs.
{
  lib,
  rustPlatform,
}:
rustPlatform.buildRustPackage {
  pname = "strata";
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
  # How the library knows it from other packages of that name.
  passthru.isStrata = true;
  meta = {
    description = "OCI container images from Nix closures";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "strata";
  };
}
