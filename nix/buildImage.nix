/**
  An image, as a recipe: image.json. No layer is stored; its bytes are made from the store paths on demand.

  # Example

  ```nix
  buildImage {
    name = "hello";
    config.Entrypoint = [ "${pkgs.hello}/bin/hello" ];
  }
  ```

  # Arguments

  - `name`: the image's name; upper case becomes lower case.
  - `tag`: its tag, by default the hash part of the result's store path.
  - `config`: the OCI configuration (`Entrypoint`, `Env`, …); store paths that it mentions are in the image.
  - `copyToRoot`: a package or a list, whose contents are put at `/`.
  - `layers`: results of buildLayer, which come first.
  - `maxLayers`: at most this many layers are made of what `layers` do not hold.
  - `perms`: as for buildLayer.
  - `isolatedDeps`, `contents`: older names of `layers` and `copyToRoot`.
  - `created`: RFC 3339.
  - `arch`: as OCI names it, `amd64` or `arm64` for example.
*/
{
  derive,
  grouping,
  check,
  configFile,
  copyPrograms,
  names,
  toolchain,
  ...
}:
{
  name,
  tag ? null,
  config ? { },
  copyToRoot ? null,
  layers ? isolatedDeps,
  # nix2container's first names.
  isolatedDeps ? [ ],
  contents ? null,
  maxLayers ? 1,
  perms ? [ ],
  created ? "0001-01-01T00:00:00Z",
  arch ? toolchain.arch,
  meta ? { },
}:
let
  base = names.base name;
  file = configFile base (check.attrs "buildImage" "config" config);
  group = grouping "buildImage" {
    inherit layers maxLayers perms;
    copyToRoot =
      if contents == null then
        copyToRoot
      else if copyToRoot == null then
        contents
      else
        throw "strata: buildImage has both copyToRoot and contents, its old name; put everything in copyToRoot";
    deps = [ file ];
    ignore = [ file ];
    metadata.created_by = "nix2container";
  };
  result = {
    inherit meta;
    imageName = names.lower name;
    imageTag = if tag == null then names.hash image else tag;
  };
  programs = copyPrograms {
    inherit image;
    reference = "${result.imageName}:${result.imageTag}";
  };
  image = derive {
    name = "image-${base}.json";
    kind = "image";
    inherit (group) closure;
    request = {
      grouping = group.request;
      config = file;
      name = names.lower (check.string "buildImage" "name" name);
      inherit arch created tag;
    };
  };
in
image // programs // { pushToDockerDeamon = programs.copyToDockerDaemon; } // result
