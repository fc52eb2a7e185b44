# The stand-in for nixpkgs, with nixpkgs' lib of a checkout and stand-ins for the packages that other projects' modules name.
# These modules build an image of the same structure with smaller programs.
{ root, lib }:
let
  fixture = import (root + "/tests/hostpkgs") { };
  program = name: fixture.writeShellScriptBin name "echo ${name}";
  packages = fixture // {
    lib = import lib;
    stdenv = fixture.stdenv // {
      inherit (fixture) system;
      isLinux = true;
      isDarwin = false;
      # The value of nix-support/dynamic-linker.
      cc = fixture.runCommand "cc" { } "mkdir -p $out/nix-support; echo ${fixture.glibc}/lib/ld-linux-x86-64.so.2 > $out/nix-support/dynamic-linker";
    };
    pkgs = packages;
    buildPackages = packages;
    callPackage =
      file: arguments:
      let
        function = import file;
      in
      function (builtins.intersectAttrs (builtins.functionArgs function) packages // arguments);
    writeTextFile =
      arguments:
      fixture.writeTextFile (
        builtins.intersectAttrs (builtins.functionArgs fixture.writeTextFile) arguments
      );
    # nixpkgs' arguments that the stand-in lacks change nothing here.
    buildEnv =
      arguments:
      fixture.buildEnv (
        builtins.intersectAttrs (builtins.functionArgs fixture.buildEnv) arguments
        // lib'.optionalAttrs (arguments ? manifest) {
          # (NixOS/nix: docker.nix moves the manifest that buildEnv writes.)
          postBuild = "echo > $out/manifest\n${arguments.postBuild}";
        }
      );
    runCommand =
      name: environment: script:
      fixture.runCommand name (
        environment
        // {
          nativeBuildInputs = [ fixture.gnugrep ] ++ environment.nativeBuildInputs or [ ];
        }
      ) script;
    runtimeShell = "${fixture.bash}/bin/bash";
    bashInteractive = fixture.bash // {
      meta.mainProgram = "bash";
    };
    coreutils-full = fixture.coreutils;
    cacert = fixture.cacert // {
      out = fixture.cacert;
    };
    dockerTools = fixture.dockerTools // {
      usrBinEnv = fixture.runCommand "usr-bin-env" { } "mkdir -p $out/usr/bin; ln -s ${fixture.coreutils}/bin/env $out/usr/bin/env";
      caCertificates = fixture.cacert;
    };
    docker-client = program "docker";
    # The shell that runs its output expands the variables.
    envsubst = fixture.writeShellScriptBin "envsubst" "exec ${fixture.coreutils}/bin/cat";
    nixVersions.nix_2_15 = fixture.nix;
    nix-ld = fixture.writeTextDir "libexec/nix-ld" "";
  }
  // builtins.mapAttrs (name: _: program name) {
    curl = null;
    git = null;
    gitMinimal = null;
    iana-etc = null;
    just = null;
    less = null;
    man = null;
    openssh = null;
    poetry = null;
    reuse = null;
    sudo = null;
    wget = null;
    which = null;
  };
  lib' = packages.lib;
in
packages
