# The image of strata that dev/release makes: the static program alone, for each architecture. `programs` has a directory
# ARCHITECTURE/strata per architecture.
{
  pkgs,
  programs,
  version,
}:
let
  strata = import ../nix { inherit pkgs; };
  architectures = {
    x86_64 = "amd64";
    aarch64 = "arm64";
  };
  manifest =
    architecture:
    strata.ociImageManifest {
      layers = [
        (strata.ociLayerTar {
          files = [
            {
              source = builtins.path {
                name = "strata";
                path = programs + "/${architecture}/strata";
              };
              destination = "/bin/strata";
              mode = "755";
            }
          ];
        })
      ];
      extraConfig = {
        architecture = architectures.${architecture};
        config = {
          Entrypoint = [ "/bin/strata" ];
          Env = [ "PATH=/bin" ];
          Labels = {
            "org.opencontainers.image.licenses" = "MIT OR Apache-2.0";
            "org.opencontainers.image.source" = "https://github.com/strata-images/strata";
            "org.opencontainers.image.title" = "strata";
            "org.opencontainers.image.version" = version;
          };
        };
      };
    };
in
strata.ociImageLayout {
  manifests = map manifest (
    builtins.filter (name: architectures ? ${name}) (builtins.attrNames (builtins.readDir programs))
  );
}
