# `m`, the runner of Makes projects: strata with this library, and the packages that it is over.
{ program, toolchain }:
program.package "m" [
  "m"
  "--library"
  "${./..}"
  "--packages"
  "${toolchain.packages}"
  "--strata"
  "${toolchain.host.strata}"
]
