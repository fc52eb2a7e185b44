# The images of dev/bench-caches, over the fixture's packages.
let
  pkgs = import ../tests/hostpkgs { };
  strata = import ../nix { inherit pkgs; };
  list = builtins.genList (number: number);
  text = builtins.concatStringsSep "";

  # 60 store paths with 1 GB that compresses to about a half. Each refers to the previous one.
  packages = map (
    number:
    pkgs.runCommand "data-${toString number}" { nativeBuildInputs = [ pkgs.python3 ]; } ''
      mkdir $out
      echo ${if number == 0 then "" else "${builtins.elemAt packages (number - 1)}"} >$out/before
      python3 - $out ${toString number} <<'PYTHON'
      import random, sys
      source = random.Random(int(sys.argv[2]))
      for file in range(64):
          with open(f"{sys.argv[1]}/{file}", "wb") as out:
              for part in range(8):
                  out.write(source.randbytes(17000) + (str(part) * 16000).encode())
      PYTHON
    ''
  ) (list 60);
  # Images that differ only in a script, which contains `word`.
  image =
    word: base:
    strata.buildImage (
      {
        name = "bench";
        tag = word;
        config.Cmd = [ "${pkgs.writeShellScript "greet" "echo ${word}"}" ];
        compressed = "gzip";
      }
      // base
    );
  one = strata.buildLayer {
    deps = packages ++ [ pkgs.bash ];
    maxLayers = 60;
    compressed = "gzip";
  };

  # An image like `one`, whose store paths change with `salt`.
  layer =
    { salt, compressed }:
    strata.buildLayer {
      deps = packages;
      maxLayers = 60;
      inherit compressed;
      metadata.comment = salt;
    };

  # A fleet whose images are in no store.
  salt = builtins.getEnv "BENCH_SALT";
  # There are 300 layers of 100 KB.
  layers = map (
    number:
    strata.buildLayer {
      deps = [
        (pkgs.writeText "layer-${toString number}" (
          text (builtins.genList (part: builtins.hashString "sha256" "${salt}${toString number} ${toString part}") 1600)
        ))
      ];
      compressed = "gzip";
    }
  ) (list 300);
  # Each image has 12 of the layers, and each layer is in 8 images.
  fleet = map (image: image.detached) recipes;
  recipes = map (
    number:
    let
      layer = place: builtins.elemAt layers (let at = number * 7 + place * 25; in at - at / 300 * 300);
    in
    strata.buildImage {
      name = "fleet-${toString number}";
      tag = "t";
      layers = map layer (list 12);
      config.Env = [ "NUMBER=${toString number}" ];
      compressed = "gzip";
    }
  ) (list 200);
in
{
  inherit layer packages pkgs;
  first = image "first" { layers = [ one ]; };
  second = image "second" { layers = [ one ]; };
  base = strata.buildImage {
    name = "base";
    tag = "v1";
    layers = [ one ];
  };
  onBase =
    lock:
    image "app" {
      fromImage = strata.lockedImage lock;
      config.Cmd = [ "${builtins.toFile "greet" "echo app"}" ];
    };
  fleet = builtins.toFile "fleet" (
    builtins.unsafeDiscardStringContext (
      text (
        map (
          image:
          builtins.toJSON {
            attr = image.imageName;
            outputs.out = "${image}";
          }
          + "\n"
        ) fleet
      )
    )
  );
  fleetImages = fleet;
  fleetRecipes = recipes;
}
