# Images of dev/bench-run: 210 store paths of 1.0 GB in 60 layers, 1,000 store paths of a few bytes, and one small program.
let
  pkgs = import ../tests/hostpkgs { };
  strata = import ../nix { inherit pkgs; };
  image =
    name: deps: word:
    strata.buildImage {
      inherit name;
      tag = "t";
      layers = [
        (strata.buildLayer {
          inherit deps;
          maxLayers = 60;
        })
      ];
      config.Cmd = [ "${pkgs.writeShellScript "greet" "echo ${word}"}" ];
    };
  big = builtins.genList (
    at:
    pkgs.runCommand "big-${toString at}" { } "mkdir $out; head -c 4800000 /dev/urandom >$out/data"
  ) 210;
  many = builtins.genList (at: pkgs.writeText "many-${toString at}" (toString at)) 1000;
in
{
  one = image "bench" big "one";
  two = image "bench" big "two";
  thousand = image "thousand" many "thousand";
  empty = strata.buildImage {
    name = "empty";
    tag = "t";
    config.Cmd = [
      "${pkgs.busybox}/bin/busybox"
      "true"
    ];
  };
}
