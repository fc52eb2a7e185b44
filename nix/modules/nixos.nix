# A module for NixOS: `virtualisation.oci-containers.containers.NAME.image` may be an image of strata. Before the container starts,
# the layers that docker or podman lacks are loaded from the store, instead of an archive with all of them.
#
# The option `image` of nixpkgs' module is a string, and the type of an option cannot be extended. This module replaces that
# module by itself, with another type of this option.
{
  config,
  lib,
  modulesPath,
  options,
  pkgs,
  ...
}@arguments:
let
  original = import (modulesPath + "/virtualisation/oci-containers.nix") arguments;
  cfg = config.virtualisation.oci-containers;
  containers = original.options.virtualisation.oci-containers.containers;

  isImage = value: builtins.isAttrs value && value ? imageName && value ? imageTag && value ? copyToDockerDaemon;
  imageType = lib.mkOptionType {
    name = "image";
    description = "image of strata";
    check = isImage;
    merge = lib.mergeEqualOption;
  };
  reference = value: if isImage value then "${value.imageName}:${value.imageTag}" else value;

  # The options of a container, with another type of `image`.
  withImage =
    module:
    if lib.isFunction module then
      lib.setFunctionArgs (arguments: changed (module arguments)) (lib.functionArgs module)
    else
      changed module;
  changed =
    module:
    if module ? options.image then
      module
      // {
        options = module.options // {
          image = module.options.image // {
            type = lib.types.either lib.types.str imageType;
            apply = reference;
          };
        };
      }
    else
      module;
  ownOptions =
    { options, ... }:
    {
      options.strataImage = lib.mkOption {
        type = lib.types.nullOr lib.types.raw;
        internal = true;
        readOnly = true;
        description = "The value of `image`, if it is an image of strata.";
        default = lib.findFirst isImage null options.image.definitions;
      };
    };

  programs = {
    docker = "copyToDockerDaemon";
    podman = "copyToPodman";
  };
  # Before nixpkgs' own commands, which log in to a registry if the image does not exist.
  load =
    name: container:
    # Older releases have no option serviceName.
    lib.nameValuePair (container.serviceName or "${cfg.backend}-${name}") {
      serviceConfig.ExecStartPre = lib.mkBefore [
        (lib.getExe container.strataImage.${programs.${cfg.backend}})
      ];
    };

  ownImages = lib.filterAttrs (_: container: container.strataImage != null) cfg.containers;
  # The containers by the name of their image.
  byReference = builtins.groupBy (name: cfg.containers.${name}.image) (builtins.attrNames ownImages);
  isOneImage =
    names: builtins.length (lib.unique (map (name: "${ownImages.${name}.strataImage}") names)) == 1;
in
{
  disabledModules = [ "virtualisation/oci-containers.nix" ];
  imports = original.imports or [ ];
  options.virtualisation.oci-containers = original.options.virtualisation.oci-containers // {
    containers = containers // {
      type = lib.types.attrsOf (
        lib.types.submodule (map withImage containers.type.getSubModules ++ [ ownOptions ])
      );
    };
  };
  config = lib.mkMerge [
    original.config
    {
      # An engine has one image of a name: the container that starts last would replace that of the others.
      assertions = lib.mapAttrsToList (name: containers: {
        assertion = isOneImage containers;
        message = "virtualisation.oci-containers: the containers ${lib.concatStringsSep ", " containers} have different images with the name ${name}; give them different names or tags";
      }) byReference;
      systemd.services = lib.mapAttrs' load ownImages;
    }
  ];
}
