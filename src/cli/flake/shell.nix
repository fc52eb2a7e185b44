# An image of packages, as https://nixery.dev composes them: what `strata serve --flake REF --shell` builds for
# shell/PACKAGE/…. Evaluated with the flake, which has nixpkgs and strata among its inputs.
{
  flake,
  system,
  # In lower case, with `.` between the attributes of sets of packages.
  packages,
}:
let
  inputs = flake.inputs or { };
  library =
    let
      all = builtins.filter (input: input ? lib.mkLib) ([ flake ] ++ builtins.attrValues inputs);
    in
    if all == [ ] then throw "the flake has no input strata, which shell images are made with" else (builtins.head all).lib;
  nixpkgs = inputs.nixpkgs or (throw "the flake has no input nixpkgs, which has the packages of shell images");
  hostPkgs = nixpkgs.legacyPackages.${system};
  pkgs = if hostPkgs.stdenv.hostPlatform.isLinux then hostPkgs else hostPkgs.pkgsLinux;
  lower =
    let
      letters = text: builtins.genList (at: builtins.substring at 1 text) 26;
    in
    builtins.replaceStrings (letters "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (letters "abcdefghijklmnopqrstuvwxyz");
  # Repositories have no capitals. An attribute in lower case precedes one with capitals.
  select =
    set: name:
    let
      others = builtins.filter (other: lower other == name) (builtins.attrNames set);
    in
    if set == null then
      null
    else if set ? ${name} then
      set.${name}
    else if others != [ ] then
      set.${builtins.head others}
    else
      null;
  find = name: builtins.foldl' select pkgs (builtins.filter builtins.isString (builtins.split "\\." name));
  found = map find packages;
  wrong = builtins.filter (name: !(find name ? drvPath)) packages;
  missing = builtins.head wrong;
  image = (library.mkLib { inherit pkgs hostPkgs; }).buildImage {
    name = builtins.concatStringsSep "/" ([ "shell" ] ++ packages);
    tag = "latest";
    copyToRoot = pkgs.buildEnv {
      name = "root";
      paths = found ++ [
        pkgs.bashInteractive
        pkgs.coreutils
        pkgs.cacert
      ];
      pathsToLink = [
        "/bin"
        "/etc"
        "/lib"
        "/share"
      ];
    };
    config = {
      Cmd = [ "/bin/bash" ];
      Env = [
        "PATH=/bin"
        "SSL_CERT_FILE=${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt"
      ];
    };
  };
in
if wrong == [ ] then
  { inherit (image.detached) drvPath; }
else if find missing == null then
  { missing = "nixpkgs has no package ${missing}"; }
else
  { missing = "${missing} is not a package"; }
