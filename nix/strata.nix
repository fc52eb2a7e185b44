# The package strata of a package set: the one that it has, or that nix/package.nix makes. Another package may be called
# strata; ours, which the overlay or the caller has put there, says that it is.
pkgs:
if pkgs ? strata && pkgs.strata ? isStrata then
  pkgs.strata
else
  pkgs.callPackage ./package.nix { }
