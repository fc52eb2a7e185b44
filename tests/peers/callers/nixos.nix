# nixpkgs' NixOS module for containers (nixos/modules/virtualisation/oci-containers.nix) with this library's module, evaluated as a
# NixOS configuration evaluates them. `nixpkgs` is a checkout of nixpkgs.
{
  root,
  lib,
  nixpkgs,
  backend,
  word,
}:
let
  pkgs = import ./packages.nix { inherit root lib; };
  strata = import (root + "/nix") { inherit pkgs; };
  modulesPath = nixpkgs + "/nixos/modules";
  inherit (pkgs.lib) mkOption types;
  any = mkOption {
    type = types.anything;
    default = { };
  };
  # The options of NixOS' other modules that this one reads and sets.
  others = {
    options = {
      assertions = mkOption { type = types.listOf types.anything; };
      networking.proxy.envVars = any;
      system.stateVersion = mkOption {
        type = types.str;
        default = "25.11";
      };
      users.users = any;
      virtualisation.docker = any;
      virtualisation.podman = any;
      systemd.services = mkOption {
        type = types.attrsOf (
          types.submodule {
            freeformType = types.lazyAttrsOf types.anything;
            options.serviceConfig = mkOption {
              type = types.submodule {
                freeformType = types.lazyAttrsOf types.anything;
                options.ExecStartPre = mkOption { type = types.listOf types.str; };
              };
            };
          }
        );
      };
      warnings = mkOption { type = types.listOf types.str; };
    };
  };
  evaluated = pkgs.lib.evalModules {
    specialArgs = {
      inherit modulesPath pkgs;
    };
    modules = [
      (modulesPath + "/virtualisation/oci-containers.nix")
      (root + "/nix/modules/nixos.nix")
      others
      {
        virtualisation.oci-containers = {
          inherit backend;
          containers.app = {
            image = strata.buildImage {
              name = "nixos-app";
              tag = "v1";
              layers = [ (strata.buildLayer { deps = [ pkgs.bash ]; }) ];
              config.Cmd = [ "${pkgs.writeShellScript "app" "echo ${word}"}" ];
            };
            log-driver = if backend == "docker" then "none" else "k8s-file";
            networks = [ "none" ];
            autoRemoveOnStop = backend == "docker";
            extraOptions =
              if backend == "docker" then
                [ ]
              else
                [
                  "--ulimit=nofile=1024:1024"
                  "--ulimit=nproc=1024:1024"
                ];
          };
          # A reference, as without the module, and an image that is streamed.
          containers.reference.image = "docker.io/library/alpine:3";
          containers.streamed = {
            image = "streamed:v1";
            imageStream = (strata.buildImage { name = "streamed"; tag = "v1"; }).stream;
          };
        };
      }
    ];
  };
  service = evaluated.config.systemd.services."${backend}-app";
in
{
  inherit (evaluated.config) assertions;
  references = map (name: evaluated.config.virtualisation.oci-containers.containers.${name}.image) [
    "app"
    "reference"
    "streamed"
  ];
  loads = map (name: builtins.length evaluated.config.systemd.services."${backend}-${name}".serviceConfig.ExecStartPre) [
    "app"
    "reference"
    "streamed"
  ];
  # What systemd runs to start the service.
  start = pkgs.writeShellScript "start" ''
    set -e
    mkdir -p /run/app
    ${builtins.concatStringsSep "\n" service.serviceConfig.ExecStartPre}
    ${service.script}
  '';
}
