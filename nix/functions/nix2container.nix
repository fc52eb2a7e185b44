/**
  nix2container's functions and programs, nested as in its flake and its default.nix.

  # Example

  ```nix
  (import strata { inherit pkgs; }).nix2container.buildImage { name = "hello"; }
  ```

  # Attributes

  - `buildImage`, `buildLayer`: those of the library, with nix2container's defaults: `maxLayers = 1` and
    `layering = "popularity"`.
  - `pullImage`, `pullImageFromManifest`: those of the library.
  - `nix2container`: this set again, as a flake's package of that name has it.
  - `skopeo-nix2container`: a program `skopeo` that copies images; `nix:` in front of one may stay.
  - `nix2container-bin`: strata under nix2container's name.
*/
{
  buildImage,
  buildLayer,
  program,
  pullImage,
  pullImageFromManifest,
  toolchain,
}:
let
  inherit (toolchain.host) bash strata;
in
{
  inherit
    buildImage
    buildLayer
    pullImage
    pullImageFromManifest
    ;
  nix2container = {
    inherit
      buildImage
      buildLayer
      pullImage
      pullImageFromManifest
      ;
  };
  skopeo-nix2container = program.script {
    name = "skopeo";
    text = ''
      #!${bash}/bin/bash
      arguments=()
      for argument in "$@"; do
        case $argument in
          # There is no policy that could refuse.
          --insecure-policy) ;;
          nix:*) arguments+=("''${argument#nix:}") ;;
          *) arguments+=("$argument") ;;
        esac
      done
      exec ${strata}/bin/strata "''${arguments[@]}"
    '';
  };
  nix2container-bin = program.script {
    name = "nix2container";
    text = ''
      #!${bash}/bin/bash
      exec ${strata}/bin/strata "$@"
    '';
  };
}
