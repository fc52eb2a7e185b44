# Without flakes: the library over a package set, and what nix2container's own default.nix has, under its names.
{
  pkgs ? import <nixpkgs> { },
}:
let
  library = import ./nix { inherit pkgs; };
in
library
// {
  inherit (library.nix2container) nix2container-bin skopeo-nix2container;
}
