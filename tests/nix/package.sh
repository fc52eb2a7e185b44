# nix/package: the files of its install phase, its meta, and its passthru.tests, which are built.
. "$root/tests/lib.sh"
# The install phase uses the program of dev/nix. tests/nix/check-phase.sh tests the phases of cargo. A minimal stand-in
# replaces nixpkgs' installShellFiles.
cat >"$work/package.nix" <<'NIX'
{ root }:
let
  pkgs = import (root + "/tests/hostpkgs") { };
  strata = import (root + "/nix") { inherit pkgs; };
  callPackage =
    file: arguments:
    let
      function = import file;
    in
    function (builtins.intersectAttrs (builtins.functionArgs function) all // arguments);
  all = pkgs // {
    inherit callPackage;
    inherit (strata) dockerTools;
    gitMinimal = "git";
    installShellFiles = "installShellFiles";
    lib = pkgs.lib // {
      licenses = {
        mit.spdxId = "MIT";
        asl20.spdxId = "Apache-2.0";
      };
      platforms = {
        linux = [ "x86_64-linux" ];
        darwin = [ "aarch64-darwin" ];
      };
    };
    stdenv = {
      inherit (pkgs.stdenv) hostPlatform;
      buildPlatform.canExecute = _: true;
    };
    rustPlatform.buildRustPackage =
      function:
      let
        attributes = function final;
        final = attributes // {
          finalPackage = built;
        };
        built =
          pkgs.runCommand "strata-${attributes.version}" { } ''
            installManPage() { mkdir -p "$out/share/man/man1"; cp "$@" "$out/share/man/man1"; }
            installShellCompletion() {
              mkdir -p "$out/share/completions"
              cp "$@" "$out/share/completions"
            }
            mkdir -p "$out/bin"
            cp ${pkgs.strata}/bin/strata "$out/bin"
            ${attributes.postInstall}
          ''
          // {
            inherit attributes;
            inherit (attributes) meta passthru version;
          };
      in
      built;
  };
in
callPackage (root + "/nix/package/package.nix") { }
NIX
package() { nix-build --no-out-link "$work/package.nix" --arg root "$root" "$@" 2>"$work/log" || { cat "$work/log" >&2; return 1; }; }

installed=$(package) || fail "the install phase"
"$installed/bin/strata" --help >/dev/null
for page in strata strata-copy strata-serve; do [[ -s $installed/share/man/man1/$page.1 ]] || fail "there is no manual page $page"; done
same "$(ls "$installed/share/completions" | tr '\n' ' ')" "strata.bash strata.fish strata.zsh "
same "$(bash -c '. "$0" && complete -p strata' "$installed/share/completions/strata.bash" | grep -c strata)" 1

# No file contains an absolute store path. (stdenv adds those of the compiler and the C library.)
lacks -rlaE '/nix/store/[0-9a-df-np-sv-z]{32}-' "$installed"
lacks -nF /nix/store "$root"/nix/package/*.nix
silent nix-store --query --references "$installed"

# Fields that nixpkgs requires or recommends.
evaluated() { nix-instantiate --eval --strict --json --expr "let package = import $work/package.nix { root = $root; }; in $1" 2>"$work/log" || cat "$work/log" >&2; }
same "$(evaluated '{ inherit (package.meta) mainProgram platforms maintainers; inherit (package.attributes) strictDeps pname; version = package.version == (builtins.fromTOML (builtins.readFile '"$root"'/Cargo.toml)).package.version; }' | jq -cS)" \
  '{"mainProgram":"strata","maintainers":[],"platforms":["x86_64-linux","aarch64-darwin"],"pname":"strata","strictDeps":true,"version":true}'
same "$(evaluated 'map (name: package.meta ? ${name}) [ "description" "longDescription" "homepage" "changelog" "license" ]')" '[true,true,true,true,true]'
same "$(evaluated 'builtins.attrNames package.passthru.tests')" '["copy","version"]'
for name in copy version; do
  package --attr "passthru.tests.$name" >/dev/null || fail "passthru.tests.$name"
done
