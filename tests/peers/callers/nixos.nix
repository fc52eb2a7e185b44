# A NixOS configuration with this library's module: all of NixOS' modules, evaluated by NixOS' own eval-config.nix. `nixpkgs` is a
# checkout with nixpkgs' directory nixos/; the packages are stand-ins. This needs Nix 2.26.
{
  root,
  lib,
  nixpkgs,
  backend,
  # The text that the container writes to a file of this directory.
  word ? "",
  directory ? "/nonexistent",
}:
let
  fixture = import ./packages.nix { inherit root lib; };
  inherit (fixture.lib) genAttrs types;
  standIn =
    name:
    let
      self = fixture.writeShellScriptBin name "echo ${name}" // {
        override = _: self;
      };
    in
    self;
  # The attributes of the package set that NixOS' modules read, and the packages of the modules that are on by default.
  pkgs =
    fixture
    // genAttrs [ "docker" "glibcLocales" "kexec-tools" "podman" "systemd" "tzdata" ] standIn
    // {
      _type = "pkgs";
      __splicedPackages = pkgs;
      appendOverlays = _: pkgs;
      config = { };
      overlays = [ ];
      stdenv = fixture.stdenv // {
        hostPlatform = fixture.stdenv.hostPlatform // {
          libc = "glibc";
          isx86_64 = true;
        };
      };
      writeShellScriptBin =
        name: text:
        let
          self = fixture.writeShellScriptBin name text // {
            overrideAttrs = _: self;
          };
        in
        self;
      linuxPackages = {
        extend = _: pkgs.linuxPackages;
        kernel = standIn "kernel" // {
          version = "6.12";
          features = { };
          config.isEnabled = _: true;
        };
      };
      # Modules that are off declare options of these types.
      formats = genAttrs [
        "elixirConf"
        "gitIni"
        "hocon"
        "ini"
        "iniWithGlobalSection"
        "javaProperties"
        "json"
        "keyValue"
        "libconfig"
        "lua"
        "php"
        "pythonVars"
        "systemd"
        "toml"
        "xml"
        "yaml"
      ] (_: _: { type = types.anything; });
    };
  strata = import (root + "/nix") { inherit pkgs; };

  # Options that older releases lack.
  file = builtins.readFile (nixpkgs + "/nixos/modules/virtualisation/oci-containers.nix");
  hasStream = fixture.lib.hasInfix "imageStream = " file;

  evalConfig =
    modules:
    import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = null;
      # nix-lib inherits this attribute, but does not define it.
      lib = pkgs.lib.extend (_: _: { inherit (builtins) isPath; });
      modules = [ { nixpkgs.pkgs = pkgs; } ] ++ modules;
    };
  evaluated = evalConfig [
    (root + "/nix/modules/nixos.nix")
    {
      system.stateVersion = "25.05";
      virtualisation.oci-containers = {
        inherit backend;
        containers.app = {
          image = strata.buildImage {
            name = "nixos-app";
            tag = "v1";
            layers = [ (strata.buildLayer { deps = [ pkgs.bash ]; }) ];
            config.Cmd = [ "${pkgs.writeShellScript "app" "echo ${word} > /written/word"}" ];
          };
          log-driver = "none";
          volumes = [ "${directory}:/written" ];
          extraOptions = [
            "--network=none"
          ]
          ++ fixture.lib.optionals (backend == "podman") [
            "--ulimit=nofile=1024:1024"
            "--ulimit=nproc=1024:1024"
          ];
        };
        # A reference, as without the module, and an image that is streamed.
        containers.reference.image = "docker.io/library/alpine:3";
        containers.streamed = {
          image = "streamed:v1";
        }
        // fixture.lib.optionalAttrs hasStream {
          imageStream = (strata.buildImage { name = "streamed"; tag = "v1"; }).stream;
        };
      };
    }
  ];
  # The machine of the template.
  flake = (import (root + "/flake.nix")).outputs {
    self = flake;
    nixpkgs.legacyPackages.x86_64-linux = pkgs;
  };
  template = (import (root + "/templates/nixos/flake.nix")).outputs {
    strata = flake;
    nixpkgs.lib.nixosSystem = arguments: evalConfig arguments.modules;
  };
  # The assertions of the module for containers that fail.
  mistakesOf =
    machine:
    map (found: found.message) (
      builtins.filter (found: !found.assertion) (
        builtins.concatMap (
          definition:
          if fixture.lib.hasSuffix "/nix/modules/nixos.nix" definition.file then definition.value else [ ]
        ) machine.options.assertions.definitionsWithLocations
      )
    );
  services = evaluated.config.systemd.services;
  names = [
    "app"
    "reference"
    "streamed"
  ];
in
{
  references = map (name: evaluated.config.virtualisation.oci-containers.containers.${name}.image) names;
  loads = map (
    name: builtins.length services."${backend}-${name}".serviceConfig.ExecStartPre
  ) names;
  mistakes = mistakesOf evaluated;
  # Containers with images of one name: equal images, and others.
  clashes =
    let
      images = builtins.mapAttrs (
        _: word: {
          image = strata.buildImage {
            name = "same";
            tag = "v1";
            config.Cmd = [ word ];
          };
        }
      );
      machine =
        containers:
        evalConfig [
          (root + "/nix/modules/nixos.nix")
          {
            system.stateVersion = "25.05";
            virtualisation.oci-containers = {
              inherit backend;
              containers = images containers;
            };
          }
        ];
    in
    map (containers: mistakesOf (machine containers)) [
      {
        a = "one";
        b = "one";
      }
      {
        a = "one";
        b = "two";
        c = "one";
      }
    ];
  template = template.nixosConfigurations.machine.config.systemd.units."podman-app.service".text;
  # The unit that systemd reads.
  unit = pkgs.writeText "unit" evaluated.config.systemd.units."${backend}-app.service".text;
}
