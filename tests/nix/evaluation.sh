# Evaluation builds nothing and reads no build result; flake outputs are all there.
. "$root/tests/lib.sh"
nix-instantiate --option allow-import-from-derivation false --eval --strict --expr "$(expression '
  map (image: image.drvPath) [
    (makeContainerImage { layers = [ pkgs.hello ]; })
    (buildImage { name = "x"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; layers = [ (buildLayer { deps = [ pkgs.bash ]; }) ]; })
  ]')" >/dev/null
cd "$root"
dev/nix flake check 2>"$work/log" || { cat "$work/log" >&2; fail "nix flake check"; }
names=$(dev/nix eval --json '.#legacyPackages.x86_64-linux' --apply builtins.attrNames 2>/dev/null)
[[ $names == *buildImage*buildLayer*dockerTools*'"m"'*makeContainerImage* ]] || fail "flake outputs: $names"
# Without a sandbox, as Debian's own configuration has it, the same path comes out.
with=$(build 'buildImage { name = "sandboxed"; }')
nix-store --delete "$with" >/dev/null 2>&1 || skip "the store does not let go of $with"
NIX_CONFIG="${NIX_CONFIG-}"$'\nsandbox = false' nix-build --no-out-link --expr "$(expression 'buildImage { name = "sandboxed"; }')" \
  >"$work/path" 2>"$work/log" || { cat "$work/log" >&2; fail "unsandboxed build"; }
same "$(<"$work/path")" "$with"
