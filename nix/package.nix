# strata itself, for nixpkgs.
{
  lib,
  rustPlatform,
  installShellFiles,
  stdenv,
}:
rustPlatform.buildRustPackage {
  pname = "strata";
  inherit ((fromTOML (builtins.readFile ../Cargo.toml)).package) version;
  # What cargo reads, and nothing else: a changed shell test or page makes no other package.
  src = builtins.path {
    name = "strata-source";
    path = ../.;
    filter =
      path: _:
      let
        top = builtins.stringLength (toString ../.) + 1;
        relative = builtins.substring top (builtins.stringLength path) path;
      in
      builtins.match "Cargo\\.(toml|lock)|(src|benches|tests/golden)(/.*)?|tests(/[^/]*\\.rs)?" relative != null;
  };
  cargoLock.lockFile = ../Cargo.lock;
  nativeBuildInputs = [ installShellFiles ];
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    "$out/bin/strata" man man
    installManPage man/*.1
    for shell in bash zsh fish; do
      "$out/bin/strata" completions "$shell" > "strata.$shell"
    done
    installShellCompletion strata.bash strata.zsh strata.fish
  '';
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
