# strata itself. This directory has the form of nixpkgs' pkgs/by-name/st/strata; docs/flake.md lists what a copy of it changes.
{
  lib,
  callPackage,
  gitMinimal,
  installShellFiles,
  rustPlatform,
  stdenv,
}:
rustPlatform.buildRustPackage (finalAttrs: {
  pname = "strata";
  inherit ((fromTOML (builtins.readFile ../../Cargo.toml)).package) version;

  # Only the files that cargo reads: a change of a shell test or a page makes no other package.
  src = builtins.path {
    name = "strata-source";
    path = ../..;
    filter =
      path: _:
      let
        top = builtins.stringLength (toString ../..) + 1;
        relative = builtins.substring top (builtins.stringLength path) path;
      in
      builtins.match "Cargo\\.(toml|lock)|(src|benches|tests/golden|tests/it)(/.*)?|tests" relative != null;
  };
  cargoLock.lockFile = ../../Cargo.lock;

  strictDeps = true;
  nativeBuildInputs = [ installShellFiles ];
  # Tests of `serve --flake` make repositories.
  nativeCheckInputs = [ gitMinimal ];
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    "$out/bin/strata" man man
    installManPage man/*.1
    for shell in bash zsh fish; do
      "$out/bin/strata" completions "$shell" > "strata.$shell"
    done
    installShellCompletion strata.bash strata.zsh strata.fish
  '';

  passthru = {
    # Distinguishes this package from others of that name.
    isStrata = true;
    tests = callPackage ./tests.nix { strata = finalAttrs.finalPackage; };
  };

  meta = {
    description = "OCI container images from Nix closures";
    longDescription = ''
      strata builds OCI images as small recipes instead of archives, and copies to registries, docker, podman and containerd
      only the layers that they lack.
    '';
    homepage = "https://github.com/strata-images/strata";
    changelog = "https://github.com/strata-images/strata/blob/v${finalAttrs.version}/CHANGELOG.md";
    license = with lib.licenses; [
      mit
      asl20
    ];
    # nixpkgs requires an entry of its maintainers/maintainer-list.nix.
    maintainers = [ ];
    mainProgram = "strata";
    platforms = lib.platforms.linux ++ lib.platforms.darwin;
  };
})
