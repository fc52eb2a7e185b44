# The package strata of a package set: the one that an overlay or the caller has put there, or that of nix/package. Another
# package may have the same name; `isStrata` distinguishes this one.
pkgs:
if pkgs ? strata && pkgs.strata ? isStrata then
  pkgs.strata
else
  pkgs.callPackage ./package/package.nix { }
