# A stand-in for nixpkgs, made from the host distribution's packages: real store paths with real references,
# under nixpkgs' names, and the few helper functions that examples use. `dev/nix` prepares `source`:
#
#   source/index.json     what fetch.py wrote
#   source/tools          busybox, and patchelf with its libraries
#   source/strata         bin/strata
{
  # Debian's packages are for x86_64-linux; under the name of another system they only evaluate.
  system ? "x86_64-linux",
  source ? if builtins.pathExists ./index.json then ./. else ../../.cache/hostpkgs/flake,
}:
let
  index = builtins.fromJSON (builtins.readFile (source + "/index.json"));
  isLinux = builtins.match ".*-linux" system != null;
  tools = builtins.path {
    name = "hostpkgs-tools";
    path = source + "/tools";
  };

  # Additional steps for packages after unpacking.
  extra = {
    bash = "ln -s bash bin/sh";
    busybox = "for a in $($bb --list); do [ -e bin/$a ] || ln -s busybox bin/$a; done";
    # The package has single certificates, which its installation joins.
    cacert = "mkdir -p etc/ssl/certs && cat share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-bundle.crt";
    gawk = "ln -s gawk bin/awk";
    libcap = "mv sbin bin";
    nginx = "mkdir -p bin && ln -s ../sbin/nginx bin/nginx";
    # Compiled in: /usr/share/nodejs.
    nodejs = "ln -s . usr";
    postgresql = "ln -s lib/postgresql/*/bin bin";
    # stdenv does this too.
    shadow = "mv sbin/* bin && rmdir sbin && ln -s bin sbin";
  };

  # Files that are removed from a package before its libraries are searched. This one needs LLVM.
  removed.postgresql = "lib/postgresql/*/lib/llvmjit* lib/postgresql/*/lib/bitcode";
  script =
    name:
    if removed ? ${name} then
      builtins.toFile "unpack-${name}.sh" (
        builtins.replaceStrings [ "cd \"$out\"\n" ] [ "cd \"$out\"\nrm -r ${removed.${name}}\n" ] (
          builtins.readFile ./unpack.sh
        )
      )
    else
      ./unpack.sh;

  unit =
    name:
    { version, debs, dependencies }:
    derivation {
      name = "${name}-${version}";
      inherit system tools;
      pname = name;
      builder = "${tools}/bin/busybox";
      args = [
        "sh"
        (script name)
      ];
      debs = map (
        deb:
        builtins.fetchurl {
          url = "file://${builtins.replaceStrings [ "%" ] [ "%25" ] deb.path}";
          inherit (deb) name sha256;
        }
      ) debs;
      dependencies = map (dependency: units.${dependency}) dependencies;
      glibc = if name == "glibc" then "" else units.glibc;
      extra = extra.${name} or "";
      # Benchmark closures are as wide as the distribution's dependencies, not only what binaries link.
      propagate = index.more != [ ];
    }
    // {
      inherit version;
      meta.mainProgram = name;
    };
  # Programs that are built outside, as packages.
  built =
    name: path:
    derivation {
      inherit name system;
      builder = "${tools}/bin/busybox";
      args = [
        "sh"
        "-c"
        "${tools}/bin/busybox cp -r ${builtins.path { inherit name path; }} $out"
      ];
    };
  # Adds `passthru`, and an overrideAttrs that changes it, as stdenv does.
  withAttributes =
    package: passthru:
    package
    // passthru
    // {
      inherit passthru;
      overrideAttrs = change: withAttributes package (change { inherit passthru; }).passthru;
    };
  units = builtins.mapAttrs unit index.units;

  pkgs = units // helpers // { inherit pkgs; };
  helpers = import ./helpers.nix { inherit pkgs system; } // {
    inherit system;
    path = source;
    stdenv.hostPlatform = {
      inherit system isLinux;
      go = {
        GOARCH =
          {
            aarch64 = "arm64";
            riscv64 = "riscv64";
            x86_64 = "amd64";
          }
          .${builtins.head (builtins.split "-" system)};
        GOARM = "";
      };
    };
    buildPackages = pkgs;
    pkgsLinux =
      if isLinux then
        pkgs
      else
        import ./. {
          inherit source;
          system = builtins.replaceStrings [ "darwin" ] [ "linux" ] system;
        };
    # The flake names these packages, and no test uses them.
    mkShell = _: units.bash;
    nixfmt-tree = units.bash;
    bashInteractive = units.bash;
    python3Minimal = units.python3;
    su = units.util-linux;
    # Roots of benchmark closures that `fetch.py --more` added.
    more = map (name: units.${name}) index.more;
    strata = withAttributes (built "strata" (source + "/strata")) { isStrata = true; };
  };
in
pkgs
