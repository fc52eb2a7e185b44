# Every example builds: those in examples/, and the code that the README shows.
. "$root/tests/lib.sh"
for example in "$root"/examples/*.nix; do
  build "import $example { inherit pkgs strata; }" >/dev/null
done
awk -v to="$work" '/^```nix$/ { inside = 1; number++; next } /^```$/ { inside = 0 } inside { print > (to "/readme-" number ".nix") }' \
  "$root/README.md"
same "$(find "$work" -name 'readme-*.nix' | wc -l)" 2
for example in "$work"/readme-*.nix; do
  build "
    let
      all = {
        inherit pkgs strata;
        custom-layer = pkgs.writeTextDir \"working-dir/my-file\" \"contents\";
        application = pkgs.writeShellScriptBin \"conversation\" \"\${pkgs.hello}/bin/hello\";
      };
      example = import $example;
    in example (builtins.intersectAttrs (builtins.functionArgs example) all)" >/dev/null
done
