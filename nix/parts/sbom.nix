# The SBOMs of an image, `sbom.cyclonedx` and `sbom.spdx`, and `vex`, of every image that has a recipe. The fields of
# src/builder/sbom.rs and src/builder/vex.rs.
{ derive, toolchain }:
{
  # The store path's name, without its suffix.
  name,
  # The recipe.
  image,
  # The values in the expression. Packages among them have metadata. An SBOM builds none of them.
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
  # Metadata of packages has the file that defines it.
  isOfPackageSet =
    meta:
    let
      prefix = "${toolchain.packageSet}/";
      position = text (meta.position or null);
    in
    toolchain.packageSet != ""
    && position != null
    && builtins.substring 0 (builtins.stringLength prefix) position == prefix;
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
      mainProgram = text (meta.mainProgram or null);
      supplier =
        if isOfPackageSet meta then
          {
            name = "Nixpkgs";
            url = "https://github.com/NixOS/nixpkgs";
          }
        else
          null;
      knownVulnerabilities = builtins.filter builtins.isString (list (meta.knownVulnerabilities or [ ]));
    };
  # Files, derivations or strings; the name of a file has no hash.
  patches =
    package:
    map (patch: "${patch}") (builtins.filter (patch: patch != null) (list (package.patches or [ ])));
  outputs =
    package:
    map (output: builtins.unsafeDiscardStringContext (package.${output} or package).outPath) (
      package.outputs or [ "out" ]
    );
  listed = builtins.filter isPackage packages;
  known = map (package: {
    paths = outputs package;
    about = about package;
  }) listed;
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
  # Reads the headers of patches, which are built for this.
  openvex = derive {
    name = "${name}.openvex.json";
    kind = "vex";
    request = {
      inherit image;
      packages = map (package: {
        package = {
          paths = outputs package;
          about = about package;
        };
        patches = patches package;
      }) listed;
    };
  };
}
