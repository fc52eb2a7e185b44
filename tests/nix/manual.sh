# README and the manual: links lead somewhere, explained messages exist, and every nix block builds.
. "$root/tests/lib.sh"
manual() { /usr/bin/python3 "$root/tests/manual.py" "$@"; }
manual links "$root" >"$work/log" || { cat "$work/log"; fail "links"; }
manual messages "$root" >"$work/log" || { cat "$work/log"; fail "messages"; }
for page in README docs/layers docs/images docs/testing; do
  mkdir -p "$work/$page"
  manual nix "$root/$page.md" "$work/$page"
  # The test file that a block of the page names.
  sed -n '/^```yaml$/,/^```$/{/^```/!p}' "$root/$page.md" >"$work/$page/structure-test.yaml"
  for example in "$work/$page"/*.nix; do
    # flake.nix is built by tests/image/manual.sh.
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
