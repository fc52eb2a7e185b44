# The outputs of a flake whose sources are in the store already, as call-flake.nix of Nix makes them from a lock file
# (nix: src/libflake/call-flake.nix). It is evaluated in restricted mode without the feature `flakes`, so that neither the
# flake nor its inputs can name further files of this machine.
{
  # The nodes of the lock file by name, and the name of the node of the flake itself.
  nodes,
  root,
  # For each node: { path, narHash, … } of its source, { parent } if it is in the source of another, or { } if it could
  # not be fetched.
  sources,
  # The directory of the flake in its source.
  dir,
}:
let
  # The node of an input: a name, or the path of `follows` from the root.
  find =
    input:
    if builtins.isList input then
      builtins.foldl' (node: name: find (nodes.${node}.inputs or { }).${name}) root input
    else
      input;
  below = directory: if directory == "" then "" else "/${directory}";
  call =
    name: node:
    let
      source = sources.${name};
      parent = all.${find source.parent};
      sourceInfo =
        if source ? path then
          removeAttrs source [ "path" ] // { outPath = builtins.storePath source.path; }
        else if source ? parent then
          parent.sourceInfo // { outPath = parent.outPath + below node.locked.path; }
        else
          throw "the input ${name} of the flake cannot be fetched";
      outPath = sourceInfo.outPath + below (if name == root then dir else node.locked.dir or "");
      flake = import (outPath + "/flake.nix");
      locked = node.inputs or { };
      wanted = removeAttrs ((flake.inputs or { }) // removeOptional (builtins.functionArgs flake.outputs)) [ "self" ];
      removeOptional =
        arguments: removeAttrs arguments (builtins.filter (name: arguments.${name}) (builtins.attrNames arguments));
      missing = builtins.filter (name: !(locked ? ${name})) (builtins.attrNames wanted);
      inputs = builtins.mapAttrs (_: input: all.${find input}.result) locked;
      outputs =
        if missing != [ ] then
          throw "flake.lock has no input ${builtins.head missing}; run nix flake lock, and commit flake.lock"
        else
          flake.outputs (inputs // { self = result; });
      result =
        outputs
        // sourceInfo
        // {
          inherit
            outPath
            inputs
            outputs
            sourceInfo
            ;
          _type = "flake";
        };
    in
    {
      inherit outPath sourceInfo;
      result = if node.flake or true then result else sourceInfo // { inherit outPath sourceInfo; };
    };
  all = builtins.mapAttrs call nodes;
in
all.${root}.result
