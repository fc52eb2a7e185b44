# divnix/std's mkOCI and mkStandardOCI, with strata as the input `n2c`; `dmerge` is a checkout of divnix/dmerge. The files have
# `inputs` and `cell` in scope, as std loads them.
{
  root,
  lib,
  std,
  dmerge,
}:
let
  pkgs = import ./packages.nix { inherit root lib; };
  flake = (import (root + "/flake.nix")).outputs {
    self = flake;
    nixpkgs.legacyPackages.${pkgs.system} = pkgs;
  };
  # Types of arguments, which check nothing here. (divnix/yants)
  yants = _: {
    any = null;
    list = _: value: value;
  };
  root' = {
    internal.mergeAt = import (dmerge + "/src/_internal/mergeAt.nix") { inherit (pkgs) lib; };
  };
  merging = {
    merge = import (dmerge + "/src/merge.nix") {
      inherit yants;
      root = root';
    };
    append = import (dmerge + "/src/append.nix") { inherit yants; };
    prepend = import (dmerge + "/src/prepend.nix") { inherit yants; };
  };
  # Inputs without systems, as std's cells get them.
  inputs = {
    nixpkgs = pkgs;
    std = { };
    cells.std.errors.requireInput = _: _: _: {
      nixpkgs = pkgs;
      std = { };
      dmerge = merging;
      n2c.packages = flake.packages.${pkgs.system};
    };
  };
  operation = name: builtins.scopedImport { inherit inputs cell; } (std + "/src/lib/ops/${name}.nix");
  cell.ops = builtins.listToAttrs (
    map
      (name: {
        inherit name;
        value = operation name;
      })
      [
        "lazyDerivation"
        "mkOCI"
        "mkSetup"
        "mkStandardOCI"
        "mkUser"
        "writeScript"
      ]
  );
  script = name: text: pkgs.writeShellScriptBin name text // { meta.mainProgram = name; };
in
{
  oci = cell.ops.mkOCI {
    name = "std-oci";
    tag = "v1";
    entrypoint = script "entry" "${pkgs.coreutils}/bin/id -u; ${pkgs.hello}/bin/hello";
    labels.title = "std";
    setup = [
      (cell.ops.mkUser {
        user = "user";
        uid = "1000";
        group = "user";
        gid = "1000";
        withHome = true;
      })
    ];
    uid = "1000";
  };
  standard = cell.ops.mkStandardOCI {
    name = "std-standard";
    operable = script "operable" "echo from std; ${pkgs.coreutils}/bin/stat -c %a /tmp" // {
      runtime = pkgs.bashInteractive;
      runtimeInputs = [ pkgs.jq ];
      livenessProbe = script "live" "true";
      readinessProbe = script "ready" "true";
      debug = pkgs.bashInteractive;
    };
    meta.tags = [
      "v1"
      "latest"
    ];
  };
}
