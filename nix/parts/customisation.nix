# The files that scripts make, as a derivation of its own, in whose output Nix finds the store paths that the files mention. The
# fields of src/builder/customisation.rs.
{
  derive,
  scriptText,
  toolchain,
}:
{
  # The name of the store path of the image or layer.
  name,
  # A result of nix/parts/base.nix.
  base,
  extraCommands,
  fakeRootCommands,
  enableFakechroot,
  runAsRoot ? null,
  # The packages at the root before the scripts run.
  placed ? {
    contents = [ ];
    argument = "extraCommands";
    placing = "link";
  },
  closure ? [ ],
  includeNixDatabase ? false,
  # A result of nix/parts/config.nix, whose closure is in the image.
  config ? null,
}:
derive {
  name = "${name}-customisation";
  kind = "customisation";
  inherit closure;
  request = {
    inherit
      placed
      base
      includeNixDatabase
      config
      ;
    scripts = {
      extraCommands = scriptText extraCommands;
      fakeRootCommands = scriptText fakeRootCommands;
      inherit enableFakechroot;
      runAsRoot = if runAsRoot == null || runAsRoot == "" then null else scriptText runAsRoot;
      tools = toolchain.scripts;
    };
  };
}
