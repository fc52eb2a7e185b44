# The programs of an image that copy it somewhere, as nix2container names them; each passes its arguments on.
# Every one runs the strata that made the image, so its bytes are the same.
{ derive, toolchain }:
{ image, reference }:
let
  program =
    name: destination:
    derive {
      inherit name;
      kind = "program";
      request = {
        inherit name;
        text = ''
          #!${toolchain.bash}/bin/bash
          exec ${toolchain.strata}/bin/strata copy ${image} ${destination} "$@"
        '';
      };
    }
    // {
      meta.mainProgram = name;
    };
in
{
  copyTo = program "copy-to" "";
  copyToRegistry = program "copy-to-registry" "docker://${reference}";
  copyToDockerDaemon = program "copy-to-docker-daemon" "docker-daemon:${reference}";
  copyToPodman = program "copy-to-podman" "containers-storage:${reference}";
}
