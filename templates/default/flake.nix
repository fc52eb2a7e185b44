{
  description = "A container image";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
    strata.url = "github:strata-images/strata";
    strata.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    {
      self,
      nixpkgs,
      strata,
    }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
      images = strata.lib.mkLib { inherit pkgs; };
    in
    {
      # nix run .#image.copyToDockerDaemon
      # nix run .#image.copyToRegistry -- docker://HOST/NAME:TAG
      packages.${system} = rec {
        default = image;
        image = images.buildImage {
          name = "app";
          tag = "latest";
          config.Cmd = [ "${pkgs.hello}/bin/hello" ];
        };
      };

      checks.${system} = {
        # The layers are what the recipe says.
        image = pkgs.runCommand "image-verified" { } ''
          ${strata.packages.${system}.strata}/bin/strata verify ${self.packages.${system}.image} > $out
        '';
        # The program runs in the image; files, metadata and services can be tested too.
        tested = images.checkImage {
          image = self.packages.${system}.image;
          structure = {
            schemaVersion = "2.0.0";
            commandTests = [
              {
                name = "greets";
                command = "${pkgs.hello}/bin/hello";
                expectedOutput = [ "Hello, world!" ];
              }
            ];
          };
        };
      };
    };
}
