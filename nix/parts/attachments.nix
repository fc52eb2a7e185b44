# What an image gets in a registry beside itself, as flags of `strata copy`: docs/supply-chain.md.
{ check }:
function: attach:
let
  kinds = [
    "cyclonedx"
    "spdx"
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
  # The image itself, and where its bills are: a format's name, or a file.
  image,
  bills,
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
  else
    [
      "--sbom"
      "${bills.${kind}}"
    ]
) wanted
