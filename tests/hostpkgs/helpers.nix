# The helper functions of nixpkgs that examples use, over the fixture's bash and coreutils.
{ pkgs, system }:
let
  shell =
    name: environment: script:
    derivation (
      environment
      // {
        inherit name system script;
        builder = "${pkgs.bash}/bin/bash";
        args = [
          "-euc"
          ''eval "$script"''
        ];
        PATH = builtins.concatStringsSep ":" (
          map (package: "${package}/bin") ([ pkgs.coreutils ] ++ (environment.nativeBuildInputs or [ ]))
        );
      }
    );

  writeTextFile =
    {
      name,
      text,
      executable ? false,
      destination ? "",
    }:
    shell name
      {
        inherit text destination;
        passAsFile = [ "text" ];
      }
      ''
        mkdir -p "$(dirname "$out$destination")"
        cp "$textPath" "$out$destination"
        chmod ${if executable then "755" else "644"} "$out$destination"
      '';
in
rec {
  inherit writeTextFile;
  callPackage =
    file: arguments:
    let
      function = if builtins.isFunction file then file else import file;
    in
    function (builtins.intersectAttrs (builtins.functionArgs function) pkgs // arguments);
  writeText = name: text: writeTextFile { inherit name text; };
  writeTextDir =
    path: text:
    writeTextFile {
      name = baseNameOf path;
      inherit text;
      destination = "/${path}";
    };
  writeScript =
    name: text:
    writeTextFile {
      inherit name text;
      executable = true;
    };
  writeShellScript = name: text: writeScript name "#!${pkgs.bash}/bin/bash\n${text}\n";
  writeScriptBin =
    name: text:
    writeTextFile {
      inherit name text;
      executable = true;
      destination = "/bin/${name}";
    };
  writeShellScriptBin = name: text: writeScriptBin name "#!${pkgs.bash}/bin/bash\n${text}\n";
  writeShellApplication =
    {
      name,
      text,
      runtimeInputs ? [ ],
    }:
    writeShellScriptBin name ''
      set -euo pipefail
      export PATH="${lib.makeBinPath runtimeInputs}:$PATH"
      ${text}
    '';
  writers.writeJSON = name: value: writeText name (builtins.toJSON value);

  runCommand = name: environment: script: shell name environment script;
  symlinkJoin = buildEnv;
  # Files are linked, directories are made; the first of two files at one place wins.
  buildEnv =
    {
      name,
      paths,
      pathsToLink ? [ "/" ],
      postBuild ? "",
    }:
    shell name
      {
        inherit paths pathsToLink;
        nativeBuildInputs = [ pkgs.findutils ];
      }
      ''
        mkdir -p "$out"
        for path in $paths; do
          for below in $pathsToLink; do
            below=''${below%/}
            [ -d "$path$below" ] || continue
            mkdir -p "$out$below"
            cd "$path$below"
            find . -mindepth 1 -type d -printf '%P\n' | while read -r directory; do
              mkdir -p "$out$below/$directory"
            done
            find . -mindepth 1 ! -type d -printf '%P\n' | while read -r file; do
              place=$out$below/$file
              [ -e "$place" ] || [ -L "$place" ] || ln -s "$path$below/$file" "$place"
            done
          done
        done
        ${postBuild}
      '';

  dockerTools.fakeNss = symlinkJoin {
    name = "fake-nss";
    paths = [
      (writeTextDir "etc/passwd" ''
        root:x:0:0:root user:/var/empty:/bin/sh
        nobody:x:65534:65534:nobody:/var/empty:/bin/sh
      '')
      (writeTextDir "etc/group" ''
        root:x:0:
        nobody:x:65534:
      '')
      (writeTextDir "etc/nsswitch.conf" ''
        hosts: files dns
      '')
      (runCommand "var-empty" { } "mkdir -p $out/var/empty")
    ];
  };

  lib = {
    makeBinPath = paths: builtins.concatStringsSep ":" (map (path: "${path}/bin") paths);
    getExe = package: "${package}/bin/${package.meta.mainProgram or package.name}";
    optionals = condition: list: if condition then list else [ ];
    optionalString = condition: text: if condition then text else "";
    concatStringsSep = builtins.concatStringsSep;
  };
}
