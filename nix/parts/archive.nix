# Images whole, as an archive in the store or a program that streams one: what the functions of nix/parts/modes.nix make. The
# fields of src/builder/archive.rs.
{
  derive,
  base,
  check,
  configFile,
  copyPrograms,
  customisation,
  detach,
  digests,
  guards,
  layerings,
  lib,
  names,
  program,
  sbom,
  strategies,
  toolchain,
}:
# The name of the function that the user called, and the arguments as they were written.
function: arguments:
{
  name,
  tag ? null,
  contents ? [ ],
  # The name of the argument that they come from.
  contentsArgument ? "contents",
  placing ? "link",
  single ? false,
  config ? { },
  architecture ? toolchain.arch,
  variant ? toolchain.variant,
  created ? "1970-01-01T00:00:01Z",
  mtime ? null,
  uid ? 0,
  gid ? 0,
  uname ? "root",
  gname ? "root",
  maxLayers ? 100,
  # "transfer" where neither it nor layeringPipeline, dockerTools' own name of a list of steps, is given.
  layering ? null,
  layeringPipeline ? null,
  debug ? false,
  weights ? { },
  previous ? null,
  fromImage ? null,
  fromImageName ? null,
  fromImageTag ? null,
  inheritConfig ? null,
  keepBaseDirlinks ? true,
  allowOtherBasePlatform ? false,
  extraCommands ? "",
  fakeRootCommands ? "",
  enableFakechroot ? false,
  runAsRoot ? null,
  includeStorePaths ? true,
  includeNixDB ? false,
  maxSize ? null,
  maxLayerSize ? null,
  forbiddenPaths ? [ ],
  compressor ? "gz",
  passthru ? { },
  meta ? { },
}:
let
  storeName = names.base (check.string function "name" name);
  file = configFile storeName (check.config function "config" config);
  suffixes = {
    none = ".tar";
    gz = ".tar.gz";
    zstd = ".tar.zst";
  };
  hasScript =
    extraCommands != "" || fakeRootCommands != "" || (runAsRoot != null && runAsRoot != "");
  placed = {
    contents = map isPackage contents;
    argument = contentsArgument;
    inherit placing;
    # In one layer, they own what is copied to the root; in several, the store paths.
    uid = if single then uid else 0;
    gid = if single then gid else 0;
    storeUid = if single then 0 else uid;
    storeGid = if single then 0 else gid;
  };
  isPackage =
    content:
    if content ? stack then
      throw (
        "strata: ${function} puts packages into the image, and one of them is a layer (of buildLayer or ociLayerTar); "
        + "give the packages of the layer instead, or make the image with buildImage { layers = [ … ]; }"
      )
    else
      content;
  # The image has the store paths that these files mention.
  files = customisation {
    name = storeName;
    base = baseImage;
    closure = map names.storePath contents ++ [ file ];
    includeNixDatabase = includeNixDB;
    config = file;
    inherit
      placed
      extraCommands
      fakeRootCommands
      enableFakechroot
      runAsRoot
      ;
  };
  described = {
    description = "Container image ${imageName}";
  }
  // check.attrs function "meta" meta;
  ownLayering =
    if layering != null && layeringPipeline != null then
      throw "strata: ${function} has both layering and layeringPipeline; give one"
    else if layeringPipeline != null then
      layeringPipeline
    else if layering != null then
      layering
    else
      "transfer";
  baseImage = base {
    inherit
      fromImage
      fromImageName
      fromImageTag
      variant
      inheritConfig
      keepBaseDirlinks
      allowOtherBasePlatform
      ;
    inherit arch;
  };
  arch = check.arch function "architecture" architecture;
  made =
    output: more:
    derive (more // {
      name =
        if output == "recipe" then
          "${storeName}-recipe"
        else
          storeName
          + (suffixes.${output} or (throw "strata: argument compressor of ${function} must be none, gz or zstd, not ${output}"));
      kind = "archive";
      closure = (if hasScript then [ files ] else map names.storePath contents) ++ [ file ];
      request = {
        customisation = if hasScript then files else null;
        inherit
          placed
          single
          variant
          tag
          output
          includeStorePaths
          ;
        created = check.time function "created" created;
        mtime = if mtime == null then null else check.time function "mtime" mtime;
        includeNixDatabase = includeNixDB;
        owner =
          if single then
            { }
          else
            {
              inherit
                uid
                gid
                uname
                gname
                ;
            };
        base = baseImage;
        layering = layerings function {
          layering = ownLayering;
          inherit weights previous debug;
        };
        guards = guards function { inherit maxSize maxLayerSize forbiddenPaths; };
        # A pipeline alone decides. (nixpkgs: pkgs/build-support/docker/default.nix, streamLayeredImage)
        maxLayers =
          if layeringPipeline != null || !builtins.elem (ownLayering.strategy or ownLayering) strategies then
            null
          else
            check.atLeast (if single then 1 else 2) function "maxLayers" maxLayers;
        config = file;
        inherit arch;
        name = imageName;
      };
    });
  imageName = lib.toLower name;
  recipe = made "recipe" { };
  # What upstream has in `passthru` of an image, for the derivation that its tag is the hash of.
  attributes =
    drv:
    let
      imageTag = if tag == null then names.hash drv else tag;
      boms = sbom {
        name = storeName;
        image = "${recipe}/image.json";
        packages = contents;
      };
    in
    copyPrograms {
      image = "${recipe}/image.json";
      reference = "${imageName}:${imageTag}";
    }
    // digests {
      image = "${recipe}/image.json";
      reference = "${imageName}:${imageTag}";
      name = storeName;
    }
    // check.attrs function "passthru" passthru
    // {
      inherit imageName imageTag;
      conf = file;
      sbom = { inherit (boms) cyclonedx spdx; };
      vex = boms.openvex;
      detached = detach {
        name = "${storeName}-detached.json";
        output = recipe;
        recipe = "${recipe}/image.json";
        inherit imageName imageTag;
      };
    };
  # An executable that writes the archive to stdout. Of the image, the store has only what scripts made.
  stream =
    program.file "stream-${storeName}"
      (
        [
          "stream"
          "${recipe}"
        ]
        # An image made "now" is made when it is streamed.
        ++ lib.optionals (created == "now") [
          "--created"
          "now"
        ]
      )
      {
        inherit arguments;
        meta = described;
        passthru =
          _:
          attributes recipe
          // {
            # The result itself is a program.
            isExe = true;
            inherit recipe;
          };
      };
  archive = made compressor {
    inherit arguments;
    meta = described;
    passthru =
      drv:
      attributes drv
      // {
        inherit stream recipe;
        layer = recipe;
      };
  };
in
{
  inherit archive stream;
}
