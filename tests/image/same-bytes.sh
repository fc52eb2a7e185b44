# The same inputs result in the same bytes, also of SBOMs: in a second build, with other numbers of cores, and with
# another Nix.
. "$root/tests/lib.sh"
expr='rec {
  archive = makeContainerImage { layers = [ pkgs.jq pkgs.hello ]; };
  image = buildImage { name = "x"; maxLayers = 5; config.Cmd = [ "${pkgs.jq}/bin/jq" ]; copyToRoot = pkgs.hello; };
  bills = [ archive.sbom.cyclonedx archive.sbom.spdx image.sbom.cyclonedx image.sbom.spdx ];
}'
paths=$(build "$expr" -A archive -A image -A bills)
for cores in 1 2 7; do
  nix-build --no-out-link --check --cores "$cores" --expr "$(expression "$expr")" >/dev/null 2>"$work/log" ||
    { cat "$work/log" >&2; fail "another build differs"; }
done

other=$cache/nix-other
# A moved virtual environment does not run.
if ! "$other/bin/nix-build" --version >/dev/null 2>&1; then
  online "$root/dev/other-nix" trixie "$other" >"$work/log" 2>&1 || { cat "$work/log"; skip "no other Nix can be had"; }
fi
"$other/bin/nix" --version
version=$(NIX_CONFIG="${NIX_CONFIG-}"$'\nsandbox-paths =' PATH="$other/bin:$PATH" \
  nix-build --no-out-link --expr "$(expression "$expr")" -A archive -A image -A bills 2>"$work/log") || { cat "$work/log"; exit 1; }
same "$version" "$paths"
NIX_CONFIG="${NIX_CONFIG-}"$'\nsandbox-paths =' PATH="$other/bin:$PATH" \
  nix-build --no-out-link --check --expr "$(expression "$expr")" >/dev/null 2>"$work/log" ||
  { cat "$work/log" >&2; fail "the other Nix builds other bytes"; }

# Both versions of Nix find no reference in a detached recipe.
name='buildImage { name = "scanned-by-another-nix"; copyToRoot = pkgs.hello; config.Cmd = [ "${pkgs.jq}/bin/jq" ]; }'
detached=$(NIX_CONFIG="${NIX_CONFIG-}"$'\nsandbox-paths =' PATH="$other/bin:$PATH" \
  nix-build --no-out-link --expr "$(expression "($name).detached")" 2>"$work/log") || { cat "$work/log" >&2; exit 1; }
same "$(nix-store -qR "$detached")" "$detached"
