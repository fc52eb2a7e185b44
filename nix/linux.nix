# The packages of images: images contain Linux packages on every system.
pkgs:
if pkgs.stdenv.hostPlatform.isLinux or true then
  pkgs
else
  pkgs.pkgsLinux
    or (throw "strata: images contain Linux packages, and the package set is for ${pkgs.stdenv.hostPlatform.system}; give one for Linux as `pkgs`, and this one as `hostPkgs`")
