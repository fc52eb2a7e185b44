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

  - `files` (list of attribute sets): `{ source; destination ? source; mode; uid; gid; }`. The contents of a directory are put into
    `destination`; links in it are kept, links to directories become directories. `mode` (octal, a string) applies to files. Of two files
    with the same destination, the last is used.
  - `compression` (string): `"gzip"`, `"zstd"`, `"zstd:chunked"`, or `""` or `"none"`.
  - `closure` (boolean): whether the layer also contains the closure of the sources, at their store paths.

  The result has `layer.tar[.gz|.zst]`, `media-descriptor.json`, `DiffID`, `layers-cache.json` and `blobs/`.
*/
{
  checked,
  check,
  derive,
  names,
}:
{
  files ? [ ],
  compression ? "gzip",
  closure ? false,
  ...
}@arguments:
assert checked arguments;
let
  function = "ociLayerTar";
  fail = what: throw "strata: argument files of ociLayerTar ${what}";
  placed =
    file:
    let
      entry = check.owned function "files" (
        check.keys [
          "destination"
          "gid"
          "mode"
          "source"
          "uid"
        ] function "files" file
      );
      source = "${check.content function "files: source" (
        entry.source or (fail "is a list of { source; destination; }; one of its elements has no source")
      )}";
      destination = toString (entry.destination or source);
    in
    if builtins.substring 0 1 destination != "/" then
      fail "has the relative destination \"${destination}\"; write \"/${destination}\""
    else
      entry // { inherit source destination; };
in
derive {
  inherit arguments;
  name = "layer-tar";
  kind = "oci-layer-tar";
  closure = if closure then map (file: names.storePath file.source) files else [ ];
  request = {
    files = map placed (check.list "ociLayerTar" "files" files);
    inherit closure;
    compression =
      if
        builtins.elem compression [
          "gzip"
          "zstd"
          "zstd:chunked"
          "none"
          ""
        ]
      then
        compression
      else
        throw "strata: argument compression of ociLayerTar must be gzip, zstd, zstd:chunked, none or \"\", not ${toString compression}";
  };
  passthru =
    layer:
    let
      own.stack = [ (layer // own) ];
    in
    own;
}
