/**
  Store paths and their closures as layers, for `layers` of buildImage and buildLayer.

  # Example

  ```nix
  buildLayer { deps = [ pkgs.bash ]; }
  ```

  # Arguments

  - `deps`: packages that keep their store paths.
  - `copyToRoot`: a package or a list, whose contents are put at `/`.
  - `layers`: layers below this one; store paths that they hold are left out.
  - `maxLayers`: at most this many layers are made.
  - `perms`: list of `{ path; regex; mode; uid; gid; uname; gname; }`; files of `path` whose source path matches
    `regex` get these.
  - `ignore`: a store path that is left out.
  - `metadata`: history of each layer: `created`, `created_by`, `author`, `comment`.
*/
{ derive, grouping, ... }:
{
  deps ? [ ],
  copyToRoot ? null,
  ignore ? null,
  layers ? [ ],
  maxLayers ? 1,
  perms ? [ ],
  metadata ? {
    created_by = "nix2container";
  },
}:
let
  group = grouping "buildLayer" {
    inherit
      deps
      copyToRoot
      layers
      maxLayers
      perms
      metadata
      ;
    ignore = if ignore == null then [ ] else [ ignore ];
  };
  layer = derive {
    name = "layers.json";
    kind = "layers";
    inherit (group) closure;
    request.grouping = group.request;
  };
  # This layer and all that it stands on, lowest first.
  result = layer // {
    stack = group.below ++ [ result ];
  };
in
result
