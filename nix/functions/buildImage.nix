/**
  An image as a recipe, image.json. Layers are not stored, but generated from the store paths on demand.

  # Example

  ```nix
  buildImage {
    name = "hello";
    config.Entrypoint = [ "${pkgs.hello}/bin/hello" ];
  }
  ```

  # Arguments

  - `isolatedDeps` (list of layers; Layers): an older name of `layers`.
  - `contents` (package, list of packages or null): an older name of `copyToRoot`.
  - `extraCommands` (string): a script that runs in an empty directory as an ordinary user. Its files and the store paths
    that they mention are layers of their own, above `layers` and below `copyToRoot`, for which `maxLayers`, `layering`, `weights`,
    `previous`, `compressed` and `includeStorePaths` hold too.
  - `fakeRootCommands` (string): a script that runs after it with fakeroot, to set owners.
  - `enableFakechroot` (boolean): whether `fakeRootCommands` sees that directory as `/`, in a user namespace.
  - `compressor` (string or null; Layers): another name of `compressed`.
  - `nixNode` (boolean): whether the image can be pushed for nodes with a Nix store, which mount its store paths
    (`strata copy --nix-node`). `copyToRegistry` then uses `--nix-node`. `nixClosure` is the store path that must be in the binary cache of
    the nodes.

  # Result

  The recipe, with these attributes:

  - `copyToRegistry`, `copyToDockerDaemon`, `copyToPodman`, `copyToContainerd`, `copyToKind`, `copyToK3s`: packages with a program that
    copies the image. `copyTo` takes the destination as its argument.
  - `run`: a program that starts a container of the image, with its store paths mounted; `shell`: one that starts a shell in it.
  - `detached`: the same recipe without references. A push of it from a binary cache downloads only the layers that the registry lacks.
  - `digest`: a file with the digest that a push to an empty registry prints; `reference`: a file with `NAME:TAG@DIGEST`.
    `digest.override { compression = "zstd"; }` is the digest of a push with `--compression zstd`. A push uses other compressed layers
    if the registry has them; with `compressed`, it uses those of the recipe.
  - `stream`: an executable file, which writes the image as a docker-archive to standard output: `nix build .#image.stream`, then
    `./result | docker load`.
  - `sbom.cyclonedx`, `sbom.spdx`, `vex`: files with these documents. `imageName` and `imageTag`: strings.

  `overrideAttrs` changes the derivation alone. For other arguments, call buildImage again.
*/
{
  checked,
  derive,
  attachments,
  base,
  grouping,
  guards,
  check,
  compressions,
  configFile,
  copyPrograms,
  defaults,
  detach,
  digests,
  lib,
  names,
  program,
  sbom,
  scriptsLayer,
  toolchain,
}:
{
  name,
  tag ? null,
  config ? { },
  copyToRoot ? null,
  layers ? [ ],
  # nix2container's first names.
  isolatedDeps ? [ ],
  contents ? null,
  maxLayers ? defaults.maxLayers,
  perms ? [ ],
  layering ? defaults.layering,
  weights ? { },
  previous ? null,
  compressed ? null,
  # Its name in nix2container.
  compressor ? null,
  fromImage ? null,
  fromImageName ? null,
  fromImageTag ? null,
  inheritConfig ? false,
  keepBaseDirlinks ? true,
  allowOtherBasePlatform ? false,
  includeStorePaths ? true,
  extraCommands ? "",
  fakeRootCommands ? "",
  enableFakechroot ? false,
  initializeNixDatabase ? false,
  nixUid ? 0,
  nixGid ? 0,
  keepStorePaths ? false,
  labels ? { },
  annotations ? { },
  maxSize ? null,
  maxLayerSize ? null,
  forbiddenPaths ? [ ],
  created ? "0001-01-01T00:00:00Z",
  arch ? toolchain.arch,
  variant ? toolchain.variant,
  attach ? [ ],
  nixNode ? false,
  meta ? { },
  ...
}@arguments:
assert checked arguments;
assert check.needed "buildImage" (
  let
    base = {
      needs = "fromImage";
      holds = fromImage != null && fromImage != "";
    };
    database = {
      needs = "initializeNixDatabase = true";
      holds = initializeNixDatabase || !defaults.ownersNeedDatabase;
    };
  in
  {
    enableFakechroot = {
      needs = "fakeRootCommands";
      holds = !builtins.elem fakeRootCommands [ null "" ];
    };
    fromImageName = base;
    fromImageTag = base;
    nixGid = database;
    nixUid = database;
  }
) arguments;
let
  storeName = names.base (check.name "buildImage" "name" name);
  file = configFile storeName (check.config "buildImage" "config" config);
  ownRoots = names.renamed "buildImage" copyToRoot contents;
  ownLayers =
    scriptsLayer "buildImage"
      {
        name = storeName;
        inherit
          extraCommands
          fakeRootCommands
          enableFakechroot
          baseImage
          maxLayers
          layering
          weights
          previous
          includeStorePaths
          ;
        compressed = compression;
      }
      (
        if isolatedDeps == [ ] then
          layers
        else if layers == [ ] then
          isolatedDeps
        else
          throw "strata: buildImage has both layers and isolatedDeps, its old name; put everything in layers"
      );
  compression = compressions "buildImage" { inherit compressed compressor; };
  group = grouping "buildImage" {
    layers = ownLayers;
    inherit
      maxLayers
      layering
      weights
      previous
      includeStorePaths
      keepStorePaths
      ;
    copyToRoot = ownRoots;
    moved = lib.optional initializeNixDatabase "${database}";
    perms = check.perms "buildImage" "perms" perms ++ (if initializeNixDatabase then databasePerms else [ ]);
    deps = [ file ];
    ignore = [ file ];
    metadata = defaults.metadata;
  };
  # What is in the image without the database, which lists it.
  plain = grouping "buildImage" {
    layers = ownLayers;
    inherit
      maxLayers
      perms
      layering
      weights
      previous
      keepStorePaths
      ;
    copyToRoot = ownRoots;
    metadata = { };
  };
  below = builtins.filter (layer: layer ? closure) plain.below;
  database = derive {
    name = "nix-database";
    kind = "nix-database";
    closure = [ file ] ++ plain.roots ++ builtins.concatMap (layer: layer.closure) below;
    request = {
      elsewhere = [ file ] ++ plain.elsewhere ++ builtins.concatMap (layer: layer.elsewhere) below;
      base = baseImage;
    };
  };
  baseImage = base {
    fromImage = check.image "buildImage" "fromImage" fromImage;
    arch = check.arch "buildImage" "arch" arch;
    inherit
      fromImageName
      fromImageTag
      variant
      inheritConfig
      keepBaseDirlinks
      allowOtherBasePlatform
      ;
  };
  databasePerms =
    let
      owned = regex: mode: {
        path = "${database}";
        inherit regex mode;
        uid = nixUid;
        gid = nixGid;
      };
    in
    [
      (owned "-nix-database/nix" "0755")
      (owned "/nix/var/nix/db/[^/]*$" "0644")
    ];
  imageName = lib.toLower name;
  ownAnnotations = check.strings "buildImage" "annotations" annotations;
  attached = attachments "buildImage" attach;
  # The attributes of the result, for its derivation.
  passthru =
    image:
    let
      imageTag = if tag == null then names.hash image else tag;
      reference = "${imageName}:${imageTag}";
      boms = sbom {
        name = storeName;
        inherit image;
        packages = group.closure ++ builtins.concatMap (layer: layer.closure or [ ]) group.below;
      };
      programs = copyPrograms {
        inherit image reference nixNode;
        attachments = attached {
          inherit image boms;
        };
      };
    in
    programs
    // digests {
      inherit image reference nixNode;
      name = storeName;
    }
    // {
      inherit
        fromImage
        imageName
        imageTag
        ;
      annotations = ownAnnotations;
      # nix2container's names. The reference has no registry and no context.
      imageRefUnsafe = builtins.unsafeDiscardStringContext reference;
      pushToDockerDeamon = programs.copyToDockerDaemon;
      # The program itself, as virtualisation.oci-containers takes an `imageStream`.
      stream = program.file "stream-${storeName}" [
        "stream"
        "${image}"
      ] { };
      sbom = { inherit (boms) cyclonedx spdx; };
      vex = boms.openvex;
      detached = detach {
        name = "image-${storeName}-detached.json";
        output = image;
        inherit imageName imageTag nixNode;
        # The store's SBOMs mention every store path; these are made from the recipe.
        attachments = attached {
          inherit image;
          boms = {
            cyclonedx = "cyclonedx";
            spdx = "spdx";
            openvex = "openvex";
          };
        };
      };
    };
in
derive {
  inherit arguments passthru;
  meta = {
    description = "Container image ${imageName}";
  }
  // check.attrs "buildImage" "meta" meta;
  name = "image-${storeName}.json";
  kind = "image";
  outputs = [ "out" ] ++ lib.optional nixNode "nixClosure";
  inherit (group) closure;
  request = {
    grouping = group.request;
    base = baseImage;
    guards = guards "buildImage" { inherit maxSize maxLayerSize forbiddenPaths; };
    config = file;
    compressed = compression;
    name = imageName;
    labels = check.strings "buildImage" "labels" labels;
    annotations = ownAnnotations;
    arch = check.arch "buildImage" "arch" arch;
    inherit variant;
    created = check.time "buildImage" "created" created;
    tag = check.tag "buildImage" "tag" tag;
  };
}
