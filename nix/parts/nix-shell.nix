# dockerTools.streamNixShellImage and buildNixShellImage: an image that is what `nix-shell` gives for a derivation. Variables
# are those of nixpkgs' pkgs/build-support/docker and of Nix's src/nix/nix-build/nix-build.cc.
{
  checkArguments,
  derive,
  program,
  toolchain,
  variable,
}:
{
  # The name of the function and the arguments that it knows.
  function,
  known,
  # Makes the image, of arguments of streamLayeredImage.
  make,
  binSh,
  fakeNss,
  usrBinEnv,
}:
{
  drv,
  name ? drv.name + "-env",
  tag ? null,
  uid ? 1000,
  gid ? 1000,
  homeDirectory ? "/build",
  shell ? "${toolchain.shell}/bin/bash",
  command ? null,
  run ? null,
  ...
}@arguments:
assert checkArguments function known arguments;
let
  attributes = drv.drvAttrs;
  owner = "${toString uid}:${toString gid}";
  build = "/build";
  quoted = value: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (variable value)}'";
  file =
    fileName: content:
    let
      files = derive {
        name = fileName;
        kind = "files";
        request.texts.${fileName} = content;
      };
    in
    "${files}/${fileName}";

  builder = program.script {
    name = "buildDerivation";
    text = "#!${toolchain.shell}/bin/bash\nexec ${
      builtins.concatStringsSep " " (map quoted ([ attributes.builder ] ++ attributes.args or [ ]))
    }\n";
  };
  path = "${dirOf shell}:${builder}/bin";
  rcfile = file "nix-shell-rc" ''
    unset PATH
    dontAddDisableDepTrack=1
    [ -e "$stdenv/setup" ] && source "$stdenv/setup"
    PATH=${path}:"$PATH"
    SHELL=${quoted shell}
    BASH=${quoted shell}
    set +e
    [ -n "$PS1" -a -z "$NIX_SHELL_PRESERVE_PROMPT" ] && PS1='\n\[\033[1;32m\][nix-shell:\w]\$\[\033[0m\] '
    if [ "$(type -t runHook)" = function ]; then
      runHook shellHook
    fi
    unset NIX_ENFORCE_PURITY
    shopt -u nullglob
    shopt -s execfail
    ${
      if command != null || run != null then
        "${if command != null then command else run}\nexit"
      else
        ""
    }
  '';

  asFile = attributes.passAsFile or [ ];
  input = attribute: {
    name = if builtins.elem attribute asFile then "${attribute}Path" else attribute;
    value =
      if builtins.elem attribute asFile then
        file attribute (variable attributes.${attribute})
      else
        variable attributes.${attribute};
  };
  inputs = builtins.listToAttrs (
    map input (
      builtins.filter (attribute: attribute != "args" && attributes.${attribute} != null) (builtins.attrNames attributes)
    )
  );
  # Where the build would write: the outputs themselves are not in the image.
  outputs = builtins.listToAttrs (
    map (output: {
      name = output;
      value = builtins.unsafeDiscardStringContext drv.${output}.outPath;
    }) (drv.outputs or [ "out" ])
  );
  certificates = "${toolchain.certificates}/etc/ssl/certs/ca-bundle.crt";
  environment = {
    SSL_CERT_FILE = certificates;
    NIX_SSL_CERT_FILE = certificates;
    PATH = path;
    HOME = homeDirectory;
    NIX_STORE = builtins.storeDir;
    NIX_BUILD_CORES = "1";
  }
  // inputs
  // outputs
  // {
    NIX_BUILD_TOP = build;
    TMPDIR = build;
    TEMPDIR = build;
    TMP = build;
    TEMP = build;
    PWD = build;
    TERM = "xterm-256color";
  };
in
if attributes.__structuredAttrs or false then
  throw "strata: ${function} takes no derivation with __structuredAttrs, which ${drv.name} has"
else if command != null && run != null then
  throw "strata: ${function} has both command and run; give one"
else
  make {
    inherit name tag;
    contents = [
      binSh
      usrBinEnv
      (fakeNss.override {
        extraPasswdLines = [ "nixbld:x:${owner}:Build user:${homeDirectory}:/noshell" ];
        extraGroupLines = [ "nixbld:!:${toString gid}:" ];
      })
    ];
    # The user may add to the store, as in a single-user installation of Nix.
    fakeRootCommands = ''
      mkdir -p ./nix/{store,var/nix} ./etc/nix .${build}
      chown -R ${owner} ./nix ./etc/nix .${build}
    '';
    config = {
      User = owner;
      WorkingDir = build;
      Cmd = [ shell ] ++ (if run == null then [ "--rcfile" ] else [ ]) ++ [ rcfile ];
      Env = map (name: "${name}=${environment.${name}}") (builtins.attrNames environment);
    };
  }
