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

use_new_nix || { cat "$work/log"; skip "no other Nix can be had"; }
nix --version
same "$(build "$expr" -A archive -A image -A bills)" "$paths"
nix-build --no-out-link --check --expr "$(expression "$expr")" >/dev/null 2>"$work/log" ||
  { cat "$work/log" >&2; fail "the other Nix builds other bytes"; }

# Both versions of Nix find no reference in a detached recipe.
name='buildImage { name = "scanned-by-another-nix"; copyToRoot = pkgs.hello; config.Cmd = [ "${pkgs.jq}/bin/jq" ]; }'
detached=$(build "($name).detached")
same "$(nix-store -qR "$detached")" "$detached"
