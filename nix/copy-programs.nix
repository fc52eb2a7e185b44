# The programs of an image that copy it somewhere, as nix2container names them; each passes its arguments on.
# Every one runs the strata that made the image, so its bytes are the same.
{ derive, toolchain }:
{ image, reference }:
let
  program =
    name: command:
    derive {
      inherit name;
      kind = "program";
      request = {
        inherit name;
        text = ''
          #!${toolchain.bash}/bin/bash
          set -euo pipefail
          ${command}
        '';
      };
    }
    // {
      meta.mainProgram = name;
    };
  strata = "${toolchain.strata}/bin/strata";
in
{
  copyTo = program "copy-to" ''exec ${strata} copy ${image} "$@"'';
  copyToRegistry = program "copy-to-registry" ''exec ${strata} copy ${image} docker://${reference} "$@"'';
  # The daemon's own program, from PATH: it knows which daemon the user means.
  copyToDockerDaemon = program "copy-to-docker-daemon" ''${strata} stream ${image} | docker load "$@"'';
  copyToPodman = program "copy-to-podman" ''${strata} stream ${image} | podman load "$@"'';
}
