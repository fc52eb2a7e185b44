# The quickest image: one program and its closure, ready for `docker load`.
{ pkgs, strata }:
strata.makeContainerImage {
  name = "hello";
  config.Entrypoint = [ "${pkgs.hello}/bin/hello" ];
}
