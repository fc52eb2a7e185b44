# The SBOMs of an image: `sbom.cyclonedx` and `sbom.spdx` of every image that has a recipe. The fields of
# src/builder/sbom.rs.
{ derive }:
{
  # The store path's name, without its suffix.
  name,
  # The recipe.
  image,
  # What the expression named: packages among it say what they are. Nothing of them is built for this.
  packages,
}:
let
  # Results of this library have no more `meta` than their position.
  isPackage =
    value:
    builtins.isAttrs value
    && value ? outPath
    && value ? meta
    && (value ? pname || builtins.removeAttrs value.meta [ "position" ] != { });
  text = value: if builtins.isString value then value else null;
  first = value: if builtins.isList value then text (builtins.head (value ++ [ null ])) else text value;
  license = value: {
    spdxId = text (value.spdxId or null);
    name = value.fullName or value.shortName or value.spdxId or (text value);
  };
  person = value: {
    name = value.name or value.github or (if builtins.isString value then value else "unknown");
    email = text (value.email or null);
  };
  list = value: if builtins.isList value then value else [ value ];
  about =
    package:
    let
      inherit (package) meta;
    in
    {
      pname = package.pname or null;
      version = package.version or null;
      description = text (meta.description or null);
      homepage = first (meta.homepage or null);
      cpe = text (meta.identifiers.cpe or null);
      purl = text (meta.identifiers.purl or null);
      licenses = builtins.filter (found: found.name != null) (map license (list (meta.license or [ ])));
      maintainers = map person (meta.maintainers or [ ]);
    };
  outputs =
    package:
    map (output: builtins.unsafeDiscardStringContext (package.${output} or package).outPath) (
      package.outputs or [ "out" ]
    );
  known = map (package: {
    paths = outputs package;
    about = about package;
  }) (builtins.filter isPackage packages);
  written =
    format: suffix:
    derive {
      name = "${name}.${suffix}";
      kind = "sbom";
      request = {
        inherit image format;
        packages = known;
      };
    };
in
{
  cyclonedx = written "cyclonedx" "cdx.json";
  spdx = written "spdx" "spdx.json";
}
