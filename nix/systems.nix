# The systems of the flake's outputs, if nixpkgs has them. `lib.forSystems` of the flake takes any other list:
# `strata.lib.systems ++ [ … ]`.
[
  "x86_64-linux"
  "aarch64-linux"
  "riscv64-linux"
  "aarch64-darwin"
  "x86_64-darwin"
]
