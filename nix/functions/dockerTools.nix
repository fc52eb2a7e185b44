/**
  nixpkgs' dockerTools: the same functions, arguments, attributes and defaults, without a virtual machine.

  `layering`, `weights`, `previous`, `inheritConfig`, `keepBaseDirlinks`, `allowOtherBasePlatform`, `maxSize`, `maxLayerSize`
  and `forbiddenPaths` are added to each function that makes an image.

  # Example

  ```nix
  dockerTools.streamLayeredImage { name = "hello"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }
  ```

  # Functions

  - `buildLayeredImage`, `buildImage`: an archive in the store. Its `stream` is a program that writes the archive, its `recipe` the recipe.
  - `streamLayeredImage`: a program that writes the archive to stdout.
  - `buildImageWithNixDb`, `buildLayeredImageWithNixDb`: the same with `includeNixDB = true`.
  - `streamNixShellImage`, `buildNixShellImage`: an image with the environment of `nix-shell` for `drv`.
  - `mergeImages`: one archive of a list of archives. `exportImage`: the root file system of `fromImage` as a tar.
  - `binSh`, `usrBinEnv`, `caCertificates`, `fakeNss`: small packages; `fakeNss.override { extraPasswdLines = [ … ]; }`.
  - `shadowSetup`: commands for scripts that make useradd and similar programs work. `pullImage`: that of nixpkgs.

  Images have `override` and `overrideAttrs`. `dockerTools.override { cacert = …; }` replaces packages that the functions
  use: `bashInteractive`, `cacert`, `coreutils`, `fakeNss`, `fakeroot`, `shadow`, `util-linux`, and `skopeo` of `pullImage`.
  Packages that only nixpkgs' implementation uses are ignored.
*/
{
  check,
  checkArguments,
  derive,
  lib,
  modes,
  nixShell,
  overrideScope,
  toolchain,
  undetachable,
}:
let
  files =
    name: request:
    derive {
      inherit name request;
      kind = "files";
    };
  # With `.override`, and like upstream's a functor with `__functionArgs`, which lib.functionArgs reads: lib.makeOverridable
  # makes no lambdas. (nixpkgs: lib/customisation.nix)
  image = name: known: function: {
    __functionArgs = known;
    __functor =
      _:
      lib.makeOverridable (
        arguments:
        assert checkArguments name known arguments;
        function name arguments
      );
  };
  lines = builtins.concatMap (line: [
    line
    "\n"
  ]);
  text = builtins.concatStringsSep "";
  # The packages that `override` replaces, as changes of toolchain.nix. (nixpkgs: pkgs/build-support/docker/default.nix)
  replaceable = {
    inherit (toolchain) coreutils shadow;
    bashInteractive = toolchain.shell;
    cacert = toolchain.certificates;
    fakeNss = null;
    fakeroot = null;
    skopeo = null;
    util-linux = null;
  };
  replaced =
    old: packages:
    let
      when = name: lib.optionalAttrs (packages ? ${name});
    in
    when "bashInteractive" { shell = packages.bashInteractive; }
    // when "cacert" { certificates = packages.cacert; }
    // when "coreutils" { inherit (packages) coreutils; }
    // when "shadow" { inherit (packages) shadow; }
    // when "skopeo" { dockerTools = old.dockerTools.override { inherit (packages) skopeo; }; }
    // {
      scripts =
        old.scripts
        // when "fakeroot" { fakeroot = "${packages.fakeroot}"; }
        // when "util-linux" { utilLinux = "${packages.util-linux}"; };
    };
  # Arguments of nixpkgs' file, and of older ones, that mean nothing here.
  ignored = [
    "buildPackages"
    "callPackage"
    "closureInfo"
    "devShellTools"
    "docker"
    "dockerAutoLayer"
    "dockerMakeLayers"
    "e2fsprogs"
    "fakechroot"
    "file"
    "findutils"
    "go"
    "jq"
    "jshon"
    "lib"
    "makeWrapper"
    "moreutils"
    "nix"
    "nixosTests"
    "pigz"
    "pkgs"
    "proot"
    "referencesByPopularity"
    "rsync"
    "runCommand"
    "runtimeShell"
    "stdenv"
    "substituteAll"
    "symlinkJoin"
    "tarsum"
    "utillinux"
    "vmTools"
    "writeClosure"
    "writePython3"
    "writeReferencesToFile"
    "writeScript"
    "writeShellScriptBin"
    "writeText"
    "writeTextDir"
    "zstd"
  ];
  # The path that strata reads for an image. A stream is a program, so its recipe is read instead.
  readable = image: if image.isExe or false then "${image.recipe}/image.json" else "${image}";
in
rec {
  buildLayeredImage = image "dockerTools.buildLayeredImage" modes.layeredArguments (
    name: arguments: (modes.layered name arguments).archive
  );
  streamLayeredImage =
    image "dockerTools.streamLayeredImage" (builtins.removeAttrs modes.layeredArguments [ "compressor" ])
      (name: arguments: (modes.layered name arguments).stream);
  buildLayeredImageWithNixDb = arguments: buildLayeredImage (arguments // { includeNixDB = true; });

  buildImage = image "dockerTools.buildImage" modes.singleArguments (
    name: arguments:
    (modes.single name (
      arguments
      // {
        passthru = check.attrs name "passthru" (arguments.passthru or { }) // {
          buildArgs = arguments;
        };
      }
    )).archive
  );
  buildImageWithNixDb = arguments: buildImage (arguments // { includeNixDB = true; });

  # What `nix-shell` gives for a derivation, as an image.
  streamNixShellImage = nixShell {
    function = "dockerTools.streamNixShellImage";
    known = builtins.functionArgs streamNixShellImage;
    make = streamLayeredImage;
    inherit binSh fakeNss usrBinEnv;
  };
  buildNixShellImage =
    {
      drv,
      compressor ? "gz",
      ...
    }@arguments:
    nixShell {
      function = "dockerTools.buildNixShellImage";
      known = builtins.functionArgs streamNixShellImage // builtins.functionArgs buildNixShellImage;
      make = shell: buildLayeredImage (shell // { inherit compressor; });
      inherit binSh fakeNss usrBinEnv;
    } (builtins.removeAttrs arguments [ "compressor" ]);

  # One archive with several images, compressed as the last of them is.
  mergeImages =
    images:
    derive {
      name = "merge-docker-images";
      kind = "merge";
      request.images = map readable (
        check.storedList "dockerTools.mergeImages" "images" images
      );
    }
    // undetachable "dockerTools.mergeImages";

  # The root file system of an image as a tar.
  exportImage =
    {
      name ? fromImage.name or "image",
      fromImage,
      fromImageName ? null,
      fromImageTag ? null,
      # For a virtual machine; there is none here.
      diskSize ? 1024,
      ...
    }@arguments:
    assert checkArguments "dockerTools.exportImage" (builtins.functionArgs exportImage) arguments;
    derive {
      inherit name;
      kind = "export";
      request = {
        image = readable fromImage;
        name = fromImageName;
        tag = fromImageTag;
        inherit (toolchain) arch;
        anyPlatform = true;
      };
    }
    // undetachable "dockerTools.exportImage";

  binSh = files "bin-sh" { links."bin/sh" = "${toolchain.shell}/bin/bash"; };
  usrBinEnv = files "usr-bin-env" { links."usr/bin/env" = "${toolchain.coreutils}/bin/env"; };
  caCertificates =
    let
      bundle = "${toolchain.certificates}/etc/ssl/certs/ca-bundle.crt";
    in
    files "ca-certificates" {
      links = {
        "etc/ssl/certs/ca-bundle.crt" = bundle;
        "etc/ssl/certs/ca-certificates.crt" = bundle;
        "etc/pki/tls/certs/ca-bundle.crt" = bundle;
      };
    };
  fakeNss = lib.makeOverridable (
    {
      extraPasswdLines ? [ ],
      extraGroupLines ? [ ],
    }:
    files "fake-nss" {
      texts = {
        "etc/passwd" = text (
          lines (
            [ "root:x:0:0:root user:/var/empty:/bin/sh" ]
            ++ extraPasswdLines
            ++ [ "nobody:x:65534:65534:nobody:/var/empty:/bin/sh" ]
          )
        );
        "etc/group" = text (lines ([ "root:x:0:" ] ++ extraGroupLines ++ [ "nobody:x:65534:" ]));
        "etc/nsswitch.conf" = ''
          hosts: files dns
        '';
      };
      directories = [ "var/empty" ];
    }
  ) { };

  # For scripts: useradd and its like, and the files they change.
  shadowSetup = ''
    export PATH=${toolchain.shadow}/bin:$PATH
    mkdir -p /etc/pam.d
    if [[ ! -f /etc/passwd ]]; then
      echo "root:x:0:0::/root:${toolchain.shell}/bin/bash" > /etc/passwd
      echo "root:!x:::::::" > /etc/shadow
    fi
    if [[ ! -f /etc/group ]]; then
      echo "root:x:0:" > /etc/group
      echo "root:x::" > /etc/gshadow
    fi
    if [[ ! -f /etc/pam.d/other ]]; then
      cat > /etc/pam.d/other <<EOF
    account sufficient pam_unix.so
    auth sufficient pam_rootok.so
    password requisite pam_unix.so nullok yescrypt
    session required pam_unix.so
    EOF
    fi
    if [[ ! -f /etc/login.defs ]]; then
      touch /etc/login.defs
    fi
  '';

  # The callers have hashes of its results, so its output must be that of nixpkgs.
  inherit (toolchain.dockerTools) pullImage;

  # nixpkgs' own, which are no images.
  inherit (toolchain.dockerTools)
    examples
    mergeDrvs
    shellScript
    tests
    ;

  override =
    change:
    let
      packages = if lib.isFunction change then change replaceable else change;
      known = builtins.attrNames replaceable;
      unknown = builtins.filter (name: !builtins.elem name (known ++ ignored)) (builtins.attrNames packages);
      replacedTools =
        (overrideScope (_: previous: { toolchain = previous.toolchain // replaced previous.toolchain packages; })).dockerTools;
    in
    if unknown != [ ] then
      throw "strata: dockerTools.override has no argument ${check.near (builtins.head unknown) known}"
    else
      replacedTools // lib.optionalAttrs (packages ? fakeNss && packages.fakeNss != null) { inherit (packages) fakeNss; };

  # Distinguishes this set from nixpkgs'.
  strata = true;
}
