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
  - `skopeo-nix2container`: a program `skopeo` with `copy`, `inspect --raw` and `--config`, `login` and `logout`, and skopeo's
    options before and after the command. `nix:` in front of an image may stay.
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
  # Translates skopeo's command line: src/cli/skopeo.rs.
  skopeo-nix2container = program.package "skopeo" "strata with the command line of skopeo" [ "skopeo" ];
  nix2container-bin = program.script {
    name = "nix2container";
    description = "strata under the name of nix2container";
    text = ''
      #!${bash}/bin/bash
      exec ${strata}/bin/strata "$@"
    '';
  };
}
