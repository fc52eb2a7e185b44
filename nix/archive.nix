# Images whole: what makeContainerImage and the functions of dockerTools share. The fields of src/build/archive.rs.
{
  derive,
  base,
  check,
  configFile,
  guards,
  layerings,
  names,
  program,
  toolchain,
}:
let
  image = function: {
  name,
  tag ? null,
  contents ? [ ],
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
  layering ? "transfer",
  weights ? { },
  previous ? null,
  fromImage ? null,
  fromImageName ? null,
  fromImageTag ? null,
  inheritConfig ? true,
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
  file = configFile storeName (check.attrs function "config" (if config == null then { } else config));
  suffixes = {
    none = ".tar";
    gz = ".tar.gz";
    zstd = ".tar.zst";
  };
  # A script may be text or a file with one.
  script = text: if builtins.isPath text then builtins.readFile text else toString text;
  hasScript =
    extraCommands != "" || fakeRootCommands != "" || (runAsRoot != null && runAsRoot != "");
  made =
    output:
    derive {
      name =
        if output == "recipe" then
          "${storeName}-recipe"
        else
          storeName
          + (suffixes.${output} or (throw "strata: argument compressor of ${function} must be none, gz or zstd, not ${output}"));
      kind = "archive";
      closure = contents ++ [ file ];
      request = {
        inherit
          contents
          placing
          single
          variant
          created
          mtime
          tag
          output
          ;
        includeStorePaths = includeStorePaths;
        includeNixDatabase = includeNixDB;
        owner = {
          inherit
            uid
            gid
            uname
            gname
            ;
        };
        scripts = {
          extraCommands = script extraCommands;
          fakeRootCommands = script fakeRootCommands;
          inherit enableFakechroot;
          runAsRoot = if runAsRoot == null || runAsRoot == "" then null else script runAsRoot;
          tools = if hasScript then toolchain.scripts else null;
        };
        base = base {
          inherit
            fromImage
            fromImageName
            fromImageTag
            variant
            inheritConfig
            ;
          arch = architecture;
        };
        layering = layerings function { inherit layering weights previous; };
        guards = guards function { inherit maxSize maxLayerSize forbiddenPaths; };
        maxLayers = check.atLeast (if single then 1 else 2) function "maxLayers" maxLayers;
        config = file;
        arch = architecture;
        name = names.lower name;
      };
    };
  recipe = made "recipe";
  result = drv: {
    inherit passthru meta;
    imageName = names.lower name;
    imageTag = if tag == null then names.hash drv else tag;
    buildArgs = {
      inherit name tag;
    };
    conf = file;
  };
  # An executable that writes the archive to stdout; nothing of the image is in the store but what scripts made.
  stream =
    let
      drv = program.file "stream-${storeName}" "stream ${recipe}";
    in
    drv
    // passthru
    // result recipe
    // {
      # The result itself is what is run.
      isExe = true;
      inherit recipe;
    };
  archive =
    let
      drv = made compressor;
    in
    drv
    // passthru
    // result drv
    // {
      inherit stream recipe;
      layer = recipe;
    };
in
{
  inherit archive stream;
};

  one = value: if builtins.isList value then value else [ value ];
  # Arguments of both kinds, and whether each has a default.
  common = {
    name = false;
  }
  // builtins.listToAttrs (
    map
      (name: {
        inherit name;
        value = true;
      })
      [
        "architecture"
        "compressor"
        "config"
        "contents"
        "created"
        "extraCommands"
        "forbiddenPaths"
        "fromImage"
        "fromImageName"
        "fromImageTag"
        "gid"
        "includeNixDB"
        "includeStorePaths"
        "inheritConfig"
        "maxLayerSize"
        "maxSize"
        "meta"
        "mtime"
        "passthru"
        "tag"
        "uid"
        "variant"
      ]
  );
  onlyLayered = {
    debug = true;
    enableFakechroot = true;
    fakeRootCommands = true;
    gname = true;
    layering = true;
    maxLayers = true;
    previous = true;
    uname = true;
    weights = true;
  };
  onlySingle = {
    buildVMMemorySize = true;
    copyToRoot = true;
    diskSize = true;
    keepContentsDirlinks = true;
    runAsRoot = true;
  };
in
{
  inherit onlyLayered onlySingle;
  layeredArguments = common // onlyLayered;
  singleArguments = common // onlySingle;
  makesArguments =
    common
    // onlyLayered
    // onlySingle
    // {
      name = true;
      layered = true;
      layers = true;
    };

  # Of arguments as dockerTools.buildLayeredImage takes them.
  layered =
    function: arguments:
    image function (
      builtins.removeAttrs arguments [ "debug" ] // { contents = one (arguments.contents or [ ]); }
    );

  # Of arguments as dockerTools.buildImage takes them. diskSize and buildVMMemorySize were for a virtual machine.
  single =
    function: arguments:
    let
      roots = names.renamed function (arguments.copyToRoot or null) (arguments.contents or null);
    in
    image function (
      builtins.removeAttrs arguments (builtins.attrNames onlySingle)
      // {
        single = true;
        runAsRoot = arguments.runAsRoot or null;
        contents = if roots == null then [ ] else one roots;
        placing = if arguments.keepContentsDirlinks or false then "copyDirlinks" else "copy";
      }
    );
}
