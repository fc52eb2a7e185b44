# Without flakes: the library over a package set, with the attributes of nix2container's default.nix.
{
  system ? null,
  pkgs ? import <nixpkgs> (if system == null then { } else { inherit system; }),
}:
let
  library = import ./nix { inherit pkgs; };
in
library
// {
  inherit (library.nix2container) nix2container-bin skopeo-nix2container;
}
