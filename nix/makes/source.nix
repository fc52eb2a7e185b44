# The files of a Makes project that git tracks, as a copy in the store. It evaluates nothing of the project.
{
  # The directory, and a file with a JSON list of the files to copy, with their directories.
  root,
  tracked,
}:
let
  names = builtins.listToAttrs (
    map (name: {
      inherit name;
      value = null;
    }) (builtins.fromJSON (builtins.readFile tracked))
  );
in
builtins.path {
  name = "source";
  path = /. + root;
  filter = path: _: names ? ${builtins.substring (builtins.stringLength root + 1) (-1) path};
}
