# The programs of an image that copy it somewhere, as nix2container names them; each passes its arguments on.
{ program }:
{ image, reference }:
{
  copyTo = program "copy-to" "copy ${image}";
  copyToRegistry = program "copy-to-registry" "copy ${image} docker://${reference}";
  copyToDockerDaemon = program "copy-to-docker-daemon" "copy ${image} docker-daemon:${reference}";
  copyToPodman = program "copy-to-podman" "copy ${image} containers-storage:${reference}";
}
