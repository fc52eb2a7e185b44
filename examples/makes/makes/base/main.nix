# What the other images stand on.
{ inputs, makeContainerImage, ... }:
makeContainerImage {
  name = "base";
  config.Env = [ "PATH=/bin" ];
  layers = [
    inputs.nixpkgs.bash
    inputs.nixpkgs.coreutils
  ];
}
