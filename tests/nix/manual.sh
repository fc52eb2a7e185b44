# README and the manual: links have targets, quoted messages exist, and every nix block builds.
. "$root/tests/lib.sh"
manual() { /usr/bin/python3 "$root/tests/manual.py" "$@"; }
manual links "$root" >"$work/log" || { cat "$work/log"; fail "links"; }
manual messages "$root" >"$work/log" || { cat "$work/log"; fail "messages"; }
for page in README docs/layers docs/images docs/testing; do
  mkdir -p "$work/$page"
  manual nix "$root/$page.md" "$work/$page"
  # The test file of a block on the page.
  sed -n '/^```yaml$/,/^```$/{/^```/!p}' "$root/$page.md" >"$work/$page/structure-test.yaml"
  for example in "$work/$page"/*.nix; do
    # tests/image/manual.sh builds flake.nix.
    [[ $example != */flake.nix ]] || continue
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
done
