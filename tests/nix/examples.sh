# Every example builds. The manual's are those of tests/nix/manual.sh.
. "$root/tests/lib.sh"
for example in "$root"/examples/*.nix; do
  build "import $example { inherit pkgs strata; }" >/dev/null
done
