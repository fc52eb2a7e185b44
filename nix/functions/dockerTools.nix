/**
  nixpkgs' dockerTools: the same functions, arguments, attributes and defaults, without a virtual machine.

  `layering`, `weights`, `previous`, `inheritConfig`, `maxSize`, `maxLayerSize` and `forbiddenPaths` are added to each
  function that makes an image.
*/
{
  check,
  checked,
  derive,
  modes,
  toolchain,
}:
let
  files =
    name: request:
    derive {
      inherit name request;
      kind = "files";
    };
in
rec {
  buildLayeredImage = checked "dockerTools.buildLayeredImage" modes.layeredArguments (
    arguments: (modes.layered "dockerTools.buildLayeredImage" arguments).archive
  );
  streamLayeredImage =
    checked "dockerTools.streamLayeredImage" (builtins.removeAttrs modes.layeredArguments [ "compressor" ])
      (arguments: (modes.layered "dockerTools.streamLayeredImage" arguments).stream);
  buildLayeredImageWithNixDb = arguments: buildLayeredImage (arguments // { includeNixDB = true; });

  buildImage = checked "dockerTools.buildImage" modes.singleArguments (
    arguments: (modes.single "dockerTools.buildImage" arguments).archive
  );
  buildImageWithNixDb = arguments: buildImage (arguments // { includeNixDB = true; });

  # One archive with several images.
  mergeImages =
    images:
    derive {
      name = "merged-docker-images.tar.gz";
      kind = "merge";
      request.images = map toString (check.list "dockerTools.mergeImages" "images" images);
    };

  # The root file system of an image as a tar.
  exportImage = checked "dockerTools.exportImage" {
    name = true;
    fromImage = false;
    fromImageName = true;
    fromImageTag = true;
    diskSize = true;
  } (
    arguments:
    derive {
      name = "${arguments.name or arguments.fromImage.imageName or "image"}.tar";
      kind = "export";
      request = {
        image = "${arguments.fromImage}";
        name = arguments.fromImageName or null;
        tag = arguments.fromImageTag or null;
        inherit (toolchain) arch;
      };
    }
  );

  binSh = files "bin-sh" { links."bin/sh" = "${toolchain.shell}/bin/bash"; };
  usrBinEnv = files "usr-bin-env" { links."usr/bin/env" = "${toolchain.coreutils}/bin/env"; };
  caCertificates =
    let
      bundle = "${toolchain.cacert}/etc/ssl/certs/ca-bundle.crt";
    in
    files "ca-certificates" {
      links = {
        "etc/ssl/certs/ca-bundle.crt" = bundle;
        "etc/ssl/certs/ca-certificates.crt" = bundle;
        "etc/pki/tls/certs/ca-bundle.crt" = bundle;
      };
    };
  fakeNss = files "fake-nss" {
    texts = {
      "etc/passwd" = ''
        root:x:0:0:root user:/var/empty:/bin/sh
        nobody:x:65534:65534:nobody:/var/empty:/bin/sh
      '';
      "etc/group" = ''
        root:x:0:
        nobody:x:65534:
      '';
      "etc/nsswitch.conf" = ''
        hosts: files dns
      '';
    };
    directories = [ "var/empty" ];
  };

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

  # Its hashes are known to those who use it.
  inherit (toolchain.dockerTools) pullImage;
}
