# The programs of an image that copy it somewhere, the first four as nix2container names them; each passes its arguments
# on, so that `copyToKind --via kind:other` is for another cluster. Only registries take `attachments`, flags of `strata copy`.
{ program }:
{
  image,
  reference,
  attachments ? [ ],
}:
{
  copyTo = program.package "copy-to" "copy ${image}";
  copyToRegistry = program.package "copy-to-registry" (
    builtins.concatStringsSep " " ([ "copy ${image} docker://${reference}" ] ++ attachments)
  );
  copyToDockerDaemon = program.package "copy-to-docker-daemon" "copy ${image} docker-daemon:${reference}";
  copyToPodman = program.package "copy-to-podman" "copy ${image} containers-storage:${reference}";
  copyToContainerd = program.package "copy-to-containerd" "copy ${image} containerd:${reference}";
  copyToKind = program.package "copy-to-kind" "copy ${image} containerd:${reference} --via kind";
  copyToK3s = program.package "copy-to-k3s" "copy ${image} containerd:${reference} --via k3s";
}
