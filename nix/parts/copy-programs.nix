# The programs of an image that copy it somewhere, as nix2container names them; each passes its arguments on.
{ program }:
{ image, reference }:
{
  copyTo = program.package "copy-to" "copy ${image}";
  copyToRegistry = program.package "copy-to-registry" "copy ${image} docker://${reference}";
  copyToDockerDaemon = program.package "copy-to-docker-daemon" "copy ${image} docker-daemon:${reference}";
  copyToPodman = program.package "copy-to-podman" "copy ${image} containers-storage:${reference}";
}
