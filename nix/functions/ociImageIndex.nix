/**
  The same image for several platforms, from one expression: an OCI layout whose index has platform and variant of each image.

  # Example

  ```nix
  ociImageIndex {
    packages = [ nixpkgs.legacyPackages.x86_64-linux nixpkgs.legacyPackages.x86_64-linux.pkgsCross.aarch64-multiplatform ];
    image = { pkgs, strata }: {
      layers = [ (strata.buildLayer { deps = [ pkgs.hello ]; }) ];
      extraConfig.config.Entrypoint = [ "${pkgs.hello}/bin/hello" ];
    };
  }
  ```

  `strata copy --all result docker://registry.example.com/name:tag` pushes all of it.

  # Arguments

  - `packages` (list of package sets): a package set for each platform.
  - `image` (function): a function of `{ pkgs, strata }`, a package set and this library over it, to the arguments of ociImageManifest.
    Architecture and variant are those of the package set, unless `extraConfig` sets them.
  - `extraIndex` (attribute set): further keys of the index, such as `annotations`, `artifactType` and `subject`.
  - `link` (boolean): whether blobs are links to store paths instead of copies.
*/
{
  checked,
  check,
  libraryOver,
}:
{
  packages,
  image,
  extraIndex ? { },
  link ? false,
  passthru ? { },
  ...
}@arguments:
assert checked arguments;
let
  manifest =
    pkgs:
    let
      strata = libraryOver pkgs;
      arguments = image { inherit pkgs strata; };
    in
    strata.ociImageManifest (
      arguments // { extraConfig = strata.platform // (arguments.extraConfig or { }); }
    );
  manifests = map manifest (check.results "ociImageIndex" "packages" packages);
in
if manifests == [ ] then
  throw "strata: argument packages of ociImageIndex is empty; give a package set for each platform"
else
  (libraryOver (builtins.head packages)).ociImageLayout {
    inherit
      manifests
      extraIndex
      link
      passthru
      ;
  }
