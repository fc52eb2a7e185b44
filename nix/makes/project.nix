# A Makes project for `m` (src/cli/makes.rs): the list of its jobs, or one job.
#
#   makes.nix              inputs, jobs, extendingMakesDirs, imports: a set, or a function of the arguments of jobs
#   makes/NAME/main.nix    the job /NAME: a function of any of these arguments
{
  # A directory, and the path of the project in it. If `tracked` is a file with a JSON list of files, only these are read.
  root,
  below ? "",
  tracked ? null,
  # A package set to import, and the store path of strata.
  packages,
  strata,
  # The job to build; null describes all jobs.
  job ? null,
}:
let
  lib = import ../lib.nix;
  top = (if tracked == null then root else import ./source.nix { inherit root tracked; }) + below;
  nixpkgs = import packages { };
  tools.strata = {
    outPath = builtins.storePath strata;
    isStrata = true;
  };
  withTools = pkgs: pkgs // tools // { buildPackages = pkgs.buildPackages // tools; };
  # Images are of Linux programs, also where `m` runs on another system.
  isLinux = nixpkgs.stdenv.hostPlatform.isLinux;
  library = import ./.. {
    pkgs = if isLinux then withTools nixpkgs else nixpkgs.pkgsLinux;
    hostPkgs = withTools nixpkgs;
  };

  # The arguments of jobs: every function of this library, and the project.
  scope = library // {
    inherit inputs outputs projectPath;
    # (Makes: src/args/agnostic.nix) Images of its dockerTools are those of this library.
    __nixpkgs__ = nixpkgs // {
      inherit (library) dockerTools;
    };
    projectSrc = projectPath "/";
    fetchNixpkgs =
      {
        rev,
        sha256,
        allowUnfree ? true,
        overlays ? [ ],
      }:
      import (fetchTarball {
        url = "https://github.com/NixOS/nixpkgs/archive/${rev}.tar.gz";
        inherit sha256;
      }) {
        inherit overlays;
        config = { inherit allowUnfree; };
      };
  };
  # Calls a function with the arguments that it names. A name that is missing here fails only the jobs that use its value.
  call =
    file: function:
    let
      wanted = builtins.functionArgs function;
      missing = lib.filterAttrs (name: hasDefault: !hasDefault && !(scope ? ${name})) wanted;
      unavailable =
        name: _:
        throw "strata: ${file} uses ${name}; the names are ${builtins.concatStringsSep ", " (builtins.attrNames scope)}";
    in
    if !builtins.isFunction function then
      function
    else if wanted == { } then
      function scope
    else
      function (builtins.intersectAttrs wanted scope // builtins.mapAttrs unavailable missing);
  projectPath =
    path:
    if builtins.substring 0 1 path != "/" then
      throw "strata: projectPath takes a path from the project's top on: projectPath \"/${path}\""
    else
      builtins.path {
        name = if path == "/" then "source" else baseNameOf path;
        path = top + path;
      };

  makes =
    let
      known = [
        "extendingMakesDirs"
        "imports"
        "inputs"
        "jobs"
      ];
      file = top + "/makes.nix";
      # The path of a file in messages.
      relative = path: builtins.substring (builtins.stringLength (toString top) + 1) (-1) (toString path);
      # A module, and those that it imports: a file, or the value of one.
      modules =
        module:
        let
          isFile = builtins.isPath module || builtins.isString module;
          name = if isFile then relative module else "makes.nix";
          value = call name (if isFile then import module else module);
          others = builtins.filter (name: !builtins.elem name known) (builtins.attrNames value);
          own =
            if others == [ ] then
              value
            else
              lib.warn "${name}: ${builtins.concatStringsSep ", " others}: not known here, and left out" value;
        in
        builtins.concatMap modules (own.imports or [ ]) ++ [ own ];
      all = modules file;
      union = name: builtins.foldl' (union: module: union // module.${name} or { }) { } all;
      directories = builtins.concatMap (module: module.extendingMakesDirs or [ ]) all;
    in
    if !builtins.pathExists file then
      { }
    else
      {
        inputs = union "inputs";
        jobs = union "jobs";
      }
      // lib.optionalAttrs (builtins.any (module: module ? extendingMakesDirs) all) {
        extendingMakesDirs = directories;
      };
  inputs = { inherit nixpkgs; } // makes.inputs or { };
  # The jobs of makes.nix, and one for each main.nix below the directories.
  outputs =
    builtins.foldl' (all: directory: all // found "" (top + directory)) { } (
      makes.extendingMakesDirs or [ "/makes" ]
    )
    // makes.jobs or { };
  found =
    prefix: directory:
    let
      entries = if builtins.pathExists directory then builtins.readDir directory else { };
      directories = builtins.filter (name: entries.${name} == "directory") (builtins.attrNames entries);
      below = map (name: found "${prefix}/${name}" (directory + "/${name}")) directories;
      own =
        if prefix != "" && entries ? "main.nix" then
          { ${prefix} = call "${prefix}/main.nix" (import (directory + "/main.nix")); }
        else
          { };
    in
    builtins.foldl' (all: one: all // one) own below;

  # The path of the program in a result: empty if the result is a program itself, null if it has none.
  program =
    result:
    if result.isExe or false then
      ""
    else if result ? meta.mainProgram then
      "/bin/${result.meta.mainProgram}"
    else
      null;
  describe =
    result:
    let
      image = "image ${result.imageName}:${result.imageTag}";
    in
    if result.isExe or false then
      "program that streams the ${image}"
    else if result ? imageName then
      image
    else if result ? meta.mainProgram then
      "program ${result.meta.mainProgram}"
    else if result ? drvPath then
      result.name
    else
      "a ${builtins.typeOf result}, which cannot be built";
  described =
    _: result:
    let
      tried = builtins.tryEval (describe result);
    in
    if tried.success then tried.value else "does not evaluate";
in
{
  jobs = if job == null then builtins.mapAttrs described outputs else builtins.mapAttrs (_: _: null) outputs;
  job =
    if job == null || !(outputs ? ${job}) then
      null
    else
      let
        result = outputs.${job};
      in
      if result ? drvPath then
        {
          inherit (result) drvPath;
          output = result.outputName or "out";
          path = builtins.unsafeDiscardStringContext result.outPath;
          program = program result;
        }
      else
        throw "strata: job ${job} is ${describe result}";
}
