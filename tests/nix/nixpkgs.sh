# Over real nixpkgs, or a fork that Nix 2.26 evaluates: the package, every kind of image, and the examples of
# dockerTools in nixpkgs. Nothing is built, since the bootstrap tools of the fork cannot be downloaded.
#
#   STRATA_NIXPKGS=CHECKOUT STRATA_NIXPKGS_LIB=CHECKOUT dev/test tests/nix/nixpkgs
#
# are checkouts of ekala-project/corepkgs and ekala-project/nix-lib, which are not changed.
. "$root/tests/lib.sh"
[[ ${STRATA_NIXPKGS-} && ${STRATA_NIXPKGS_LIB-} ]] || skip "STRATA_NIXPKGS and STRATA_NIXPKGS_LIB name no checkouts"
need_new_nix
cp -r "$STRATA_NIXPKGS" "$work/fork"
chmod -R u+w "$work/fork"
echo "{ lib = $STRATA_NIXPKGS_LIB; }" >"$work/fork/pins.nix"
# Packages that nixpkgs has.
ln -s ../build-support "$work/fork/pkgs/build-support"
# The package as in a pull request to nixpkgs: a copy of its directory, with the changes in docs/flake.md.
cp -r "$root/nix/package" "$work/by-name"
sed -n '/^  version = /,/^  cargoHash = /s/^  //p' "$root/docs/flake.md" >"$work/lines"
same "$(wc -l <"$work/lines")" 8
sed -i -e '/^  inherit ((fromTOML/,/^  cargoLock/{/^  cargoLock/r '"$work/lines"$'\n''d}' -e 's/^  gitMinimal,/  fetchFromGitHub,\n&/' "$work/by-name/package.nix"
nix-instantiate --eval --strict --json --option allow-import-from-derivation false \
  --argstr root "$root" --arg fork "$work/fork" --arg byName "$work/by-name" "$root/tests/nix/nixpkgs.nix" >"$work/found" 2>"$work/log" ||
  { cat "$work/log" >&2; fail "does not evaluate"; }
found() { jq -c "$1" "$work/found"; }
same "$(found '.upstream.src | endswith("source") and (startswith("strata-source") | not)')" true
same "$(found '.upstream.tests | map_values(type)')" '{"copy":"string","version":"string"}'
same "$(found .lib)" true
same "$(found '.examples | length')" 65
same "$(found '[.examples[] | select(. == null)]')" "[]"
same "$(found '.cross | map_values(.platform)')" \
  '{"aarch64-multiplatform":{"architecture":"arm64"},"armv7l-hf-multiplatform":{"architecture":"arm","variant":"v7"},"gnu32":{"architecture":"386"},"ppc64":{"architecture":"ppc64"},"riscv64":{"architecture":"riscv64"},"s390x":{"architecture":"s390x"}}'
same "$(found .platforms)" \
  '{"loongarch64-linux":{"architecture":"loong64"},"mips-linux-gnu":{"architecture":"mips"},"mips64el-linux-gnuabi64":{"architecture":"mips64le"},"mipsel-linux-gnu":{"architecture":"mipsle"},"powernv":{"architecture":"ppc64le"},"raspberryPi":{"architecture":"arm","variant":"v6"}}'
same "$(found '[.cross[].system] | unique')" '["x86_64-linux"]'
same "$(found '.arguments | [.name, .tag]')" '[false,true]'
same "$(found '.called[1:]')" '["2","2"]'
same "$(found '[.dockerTools[] | select(.missing != [] or .lambdas[0] != .lambdas[1])]')" "[]"
