# `m`, the runner of Makes projects: strata with this library, and the packages that it is over.
{ program, toolchain }:
program.package "m" "Runner of the jobs of Makes projects" [
  "m"
  "--library"
  "${./..}"
  "--packages"
  "${toolchain.packages}"
  "--strata"
  "${toolchain.host.strata}"
]
