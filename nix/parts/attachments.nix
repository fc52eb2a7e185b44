# The attachments of an image in a registry, as flags of `strata copy`: docs/supply-chain.md.
{ check }:
function: attach:
let
  kinds = [
    "cyclonedx"
    "spdx"
    "openvex"
    "provenance"
  ];
  known =
    kind:
    if builtins.elem kind kinds then
      kind
    else
      throw "strata: argument attach of ${function} has ${check.near (check.string function "attach" kind) kinds}";
  wanted = map known (check.list function "attach" attach);
in
{
  # The image itself, and its SBOM in each format, and VEX document: a file, or the name of a format that is made from the image.
  image,
  boms,
}:
builtins.concatMap (
  kind:
  if kind == "provenance" then
    [
      "--provenance"
      "--derivation"
      (builtins.unsafeDiscardStringContext image.drvPath)
      "--nix-version"
      builtins.nixVersion
    ]
  else if kind == "openvex" then
    [
      "--vex"
      "${boms.openvex}"
    ]
  else
    [
      "--sbom"
      "${boms.${kind}}"
    ]
) wanted
