# The copy programs of an image; the first four have nix2container's names. Each passes its arguments on, so that
# `copyToKind --via kind:other` copies to another cluster. Only registries take `attachments`, flags of `strata copy`.
{
  lib,
  program,
  toolchain,
}:
{
  image,
  reference,
  attachments ? [ ],
  # Whether it is for several platforms, which only registries take.
  isIndex ? false,
  # Whether registries get it for nodes with a Nix store.
  nixNode ? false,
}:
let
  copy =
    name: to: destination:
    program.package name "Copies the image ${reference} to ${to}" (
      [
        "copy"
        "${image}"
      ]
      ++ destination
    );
in
{
  # Not a copy: a container with the store paths of this machine.
  run = program.package "run" "Starts a container of the image ${reference}" [
    "run"
    "${image}"
  ];
  # A bash in the image's root: the image's own, or that of the package set.
  shell = program.package "shell" "Starts a shell in the image ${reference}" [
    "run"
    "${image}"
    "--shell"
    "${toolchain.shell}/bin/bash"
  ];
  copyTo = copy "copy-to" "any destination" [ ];
  copyToRegistry = copy "copy-to-registry" "its registry" (
    [ "docker://${reference}" ]
    ++ lib.optional isIndex "--all"
    ++ lib.optional nixNode "--nix-node"
    ++ attachments
  );
  copyToDockerDaemon = copy "copy-to-docker-daemon" "docker" [ "docker-daemon:${reference}" ];
  copyToPodman = copy "copy-to-podman" "podman" [ "containers-storage:${reference}" ];
  copyToContainerd = copy "copy-to-containerd" "containerd" [ "containerd:${reference}" ];
  copyToKind = copy "copy-to-kind" "a kind cluster" [
    "containerd:${reference}"
    "--via"
    "kind"
  ];
  copyToK3s = copy "copy-to-k3s" "k3s" [
    "containerd:${reference}"
    "--via"
    "k3s"
  ];
}
