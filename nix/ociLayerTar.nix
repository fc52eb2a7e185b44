/**
  Files as one ready layer, for `layers` of ociImageConfig, ociImageManifest, buildImage and buildLayer.

  # Example

  ```nix
  ociLayerTar {
    files = [
      { source = pkgs.nginx; destination = "/"; }
      { source = ./nginx.conf; destination = "/etc/nginx/nginx.conf"; }
    ];
  }
  ```

  # Arguments

  - `files`: list of `{ source; destination ? source; mode; uid; gid; }`. A directory's contents go to `destination`;
    links in it are kept, those to directories become directories. `mode` (octal, a string) is for files.
  - `compression`: `"gzip"`, `"zstd"`, or `""` or `"none"`.
  - `closure`: whether the sources' closure is in the layer too, at its own store paths.

  The result has `layer.tar[.gz|.zst]`, `media-descriptor.json`, `DiffID`, `layers-cache.json` and `blobs/`.
*/
{ derive, check, ... }:
{
  files ? [ ],
  compression ? "gzip",
  closure ? false,
}:
let
  known = {
    source = true;
    destination = true;
    mode = true;
    uid = true;
    gid = true;
  };
  placed =
    file:
    let
      unknown = builtins.filter (name: !(known ? ${name})) (builtins.attrNames file);
      source = "${file.source}";
    in
    if !(builtins.isAttrs file && file ? source) then
      throw "strata: argument files of ociLayerTar is a list of { source; destination; }, not of ${builtins.typeOf file}s without source"
    else if unknown != [ ] then
      throw "strata: argument files of ociLayerTar has no attribute ${builtins.concatStringsSep ", " unknown}; it has ${builtins.concatStringsSep ", " (builtins.attrNames known)}"
    else
      file
      // {
        inherit source;
        destination = if file ? destination then toString file.destination else source;
      };
  # exportReferencesGraph takes store paths, and sources may be files in them.
  storePath =
    source:
    let
      text = "${source}";
      found = builtins.match "(${builtins.storeDir}/[^/]+)(/.*)?" (builtins.unsafeDiscardStringContext text);
    in
    builtins.appendContext (builtins.head found) (builtins.getContext text);
  layer = derive {
    name = "layer-tar";
    kind = "oci-layer-tar";
    closure = if closure then map (file: storePath file.source) files else [ ];
    request = {
      files = map placed (check.list "ociLayerTar" "files" files);
      inherit closure;
      compression =
        if
          builtins.elem compression [
            "gzip"
            "zstd"
            "none"
            ""
          ]
        then
          compression
        else
          throw "strata: argument compression of ociLayerTar must be gzip, zstd, none or \"\", not ${toString compression}";
    };
  };
  result = layer // {
    stack = [ result ];
  };
in
result
