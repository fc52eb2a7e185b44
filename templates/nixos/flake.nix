{
  description = "A container on NixOS, whose image is loaded from the store";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
    strata.url = "github:strata-images/strata";
    strata.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { nixpkgs, strata, ... }:
    {
      nixosConfigurations.machine = nixpkgs.lib.nixosSystem {
        modules = [
          strata.nixosModules.default
          # Replace this by the configuration of the machine.
          {
            nixpkgs.hostPlatform = "x86_64-linux";
            boot.isContainer = true;
            system.stateVersion = "26.05";
          }
          (
            { pkgs, ... }:
            {
              virtualisation.oci-containers = {
                backend = "podman";
                # Before the container starts, the layers that podman lacks are loaded.
                containers.app.image = (strata.lib.mkLib { inherit pkgs; }).buildImage {
                  name = "app";
                  config.Cmd = [ "${pkgs.hello}/bin/hello" ];
                };
              };
            }
          )
        ];
      };
    };
}
