# Evaluation builds nothing and reads no build results, and all flake outputs exist.
. "$root/tests/lib.sh"
nix-instantiate --option allow-import-from-derivation false --eval --strict --expr "$(expression '
  map (image: image.drvPath) [
    (makeContainerImage { layers = [ pkgs.hello ]; })
    (buildImage { name = "x"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; layers = [ (buildLayer { deps = [ pkgs.bash ]; }) ]; })
  ]')" >/dev/null
cd "$root"
# tests/nix/examples.sh builds the checks.
dev/nix flake check --no-build 2>"$work/log" || { cat "$work/log" >&2; fail "nix flake check"; }
names=$(dev/nix eval --json '.#legacyPackages.x86_64-linux' --apply builtins.attrNames 2>/dev/null)
[[ $names == *buildImage*buildLayer*dockerTools*'"m"'*makeContainerImage* ]] || fail "flake outputs: $names"
# The outputs that `nix flake show` lists. docs/flake.md lists the others.
dev/nix flake show --json >"$work/shown" 2>"$work/log" || { cat "$work/log" >&2; fail "nix flake show"; }
same "$(jq -c '.templates | keys' "$work/shown")" '["default","flake-parts","github-actions","gitlab-ci","makes","multi-platform","nixos"]'
same "$(jq -c '[.templates[].description | length > 20] | all' "$work/shown")" true
same "$(jq -c '.packages["x86_64-linux"] | keys' "$work/shown")" '["default","image","m","nix2container","nix2container-bin","skopeo-nix2container","strata"]'

# Without a sandbox, as in Debian's configuration, the output path is the same.
with=$(build 'buildImage { name = "sandboxed"; }')
nix-store --delete "$with" >/dev/null 2>&1 || skip "the store does not let go of $with"
NIX_CONFIG="${NIX_CONFIG-}"$'\nsandbox = false' nix-build --no-out-link --expr "$(expression 'buildImage { name = "sandboxed"; }')" \
  >"$work/path" 2>"$work/log" || { cat "$work/log" >&2; fail "unsandboxed build"; }
same "$(<"$work/path")" "$with"
