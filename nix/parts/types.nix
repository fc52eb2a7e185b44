# The types of arguments, by name, as functions of nix/parts/check.nix. An argument has the same type in each function that has
# it, except those listed as FUNCTION.ARGUMENT. Arguments that a function checks itself are missing here.
{ check }:
let
  inherit (check)
    attrs
    bool
    file
    id
    list
    nullOr
    path
    script
    string
    text
    ;
in
{
  action = nullOr string;
  aliases = list;
  allowOtherBasePlatform = bool;
  append = bool;
  attach = list;
  budget = path;
  "buildIndex.name" = nullOr string;
  builder = text;
  buildVMMemorySize = id;
  "checkBudget.image" = file;
  closure = bool;
  command = nullOr string;
  compression = string;
  compressor = nullOr string;
  created = check.time;
  debug = bool;
  diskSize = id;
  "dockerTools.exportImage.fromImage" = file;
  enableFakechroot = bool;
  entrypoint = text;
  env = attrs;
  envFiles = attrs;
  extraCommands = script;
  extraIndex = attrs;
  fakeRootCommands = script;
  fromImageName = nullOr string;
  fromImageTag = nullOr string;
  gid = id;
  globalState = bool;
  gname = string;
  help = nullOr path;
  homeDirectory = string;
  imageDigest = string;
  imageManifest = nullOr path;
  imageName = string;
  imageTag = string;
  includeNixDB = bool;
  includeStorePaths = bool;
  inheritConfig = nullOr bool;
  initializeNixDatabase = bool;
  isolatedDeps = list;
  keepBaseDirlinks = bool;
  keepContentsDirlinks = bool;
  keepStorePaths = bool;
  layered = bool;
  link = bool;
  local = bool;
  "lockedImage.file" = path;
  metadata = attrs;
  mtime = nullOr check.time;
  name = string;
  nixGid = id;
  nixNode = bool;
  nixUid = id;
  os = string;
  persistState = bool;
  previous = nullOr file;
  registryUrl = string;
  replace = attrs;
  reproducible = bool;
  run = nullOr string;
  runAsRoot = script;
  searchPaths = attrs;
  service = nullOr attrs;
  sha256 = nullOr string;
  shell = string;
  tag = nullOr string;
  tlsVerify = bool;
  uid = id;
  uname = string;
  variant = nullOr string;
  weights = attrs;
  withAction = bool;
}
