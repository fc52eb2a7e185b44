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
      ../tests/rust
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
