# Modules of other projects, unmodified, over this library: evaluated, built, copied and run.
#
#   STRATA_NIXPKGS_LIB=… STRATA_DEVENV=… STRATA_STD=… STRATA_DMERGE=… STRATA_NIX=… STRATA_MAKES=… dev/test tests/peers/callers
#
# are checkouts of ekala-project/nix-lib (nixpkgs' lib), cachix/devenv, divnix/std, divnix/dmerge, NixOS/nix and fluidattacks/makes.
. "$root/tests/lib.sh"
[[ ${STRATA_NIXPKGS_LIB-} ]] || skip "STRATA_NIXPKGS_LIB names no checkout"
export XDG_CACHE_HOME=$work/cache

# caller FILE ARGUMENTS EXPR: the store path of EXPR, an attribute of what a file of tests/peers/callers evaluates to.
caller() {
  nix-build --no-out-link --expr "(import $root/tests/peers/callers/$1.nix { root = $root; lib = $STRATA_NIXPKGS_LIB; $2 }).$3" 2>"$work/log" ||
    { cat "$work/log" >&2; fail "$1: $3"; }
}

if [[ ${STRATA_DEVENV-} ]]; then
  # devenv's copy script runs `skopeo --insecure-policy copy nix:CONTAINER DESTINATION`.
  "$(caller devenv "devenv = $STRATA_DEVENV;" copyScript)" "$(caller devenv "devenv = $STRATA_DEVENV;" derivation)" false >"$work/out" 2>&1 ||
    { cat "$work/out"; fail "devenv's copy script"; }
  same "$(run app:v1)" $'hello from devenv 1\ncontents\n1000'
  docker rmi app:v1 >/dev/null
else
  skip_part "STRATA_DEVENV names no checkout"
fi

if [[ ${STRATA_STD-} && ${STRATA_DMERGE-} ]]; then
  arguments="std = $STRATA_STD; dmerge = $STRATA_DMERGE;"
  "$strata" copy "$(caller std "$arguments" oci)" docker-daemon: --quiet >/dev/null
  same "$(run std-oci:v1)" $'1000\nHello, world!'
  "$strata" copy "$(caller std "$arguments" standard)" docker-daemon: --quiet >/dev/null
  same "$(run std-standard:v1)" $'from std\n777'
  same "$(nix-instantiate --eval --strict --json --expr "(import $root/tests/peers/callers/std.nix { root = $root; lib = $STRATA_NIXPKGS_LIB; $arguments }).standard.image.tags")" '["v1","latest"]'
  docker rmi std-oci:v1 std-standard:v1 >/dev/null
else
  skip_part "STRATA_STD and STRATA_DMERGE name no checkouts"
fi

if [[ ${STRATA_NIX-} ]]; then
  archive=$(nix-build --no-out-link --expr "
    let pkgs = import $root/tests/peers/callers/packages.nix { root = $root; lib = $STRATA_NIXPKGS_LIB; };
        strata = import $root/nix { inherit pkgs; };
        # As NixOS/nix's own flake calls it. (packaging/hydra.nix)
        dockerTools = strata.dockerTools.override { inherit (pkgs) nix; };
    in pkgs.callPackage $STRATA_NIX/docker.nix { inherit dockerTools; tag = \"v1\"; bundleNixpkgs = false; }" 2>"$work/log") ||
    { cat "$work/log" >&2; fail "NixOS/nix's docker.nix"; }
  same "$(load <"$archive")" nix:v1
  same "$(run nix:v1 bash -c 'nix-store --version && stat -c %a /tmp && nix-store --verify 2>/dev/null && echo verified' | sed 's/.* (Nix).*/nix/')" $'nix\n1777\nverified'
  docker rmi nix:v1 >/dev/null
else
  skip_part "STRATA_NIX names no checkout"
fi

if [[ ${STRATA_MAKES-} ]]; then
  mkdir "$work/packages"
  echo "_: import $root/tests/peers/callers/packages.nix { root = $root; lib = $STRATA_NIXPKGS_LIB; }" >"$work/packages/default.nix"
  cp -r "$STRATA_MAKES" "$work/makes"
  chmod -R u+w "$work/makes"
  # Its runtime is a Python environment made with poetry2nix, which `m` does not have, from PyPI.
  echo '{ makeSearchPaths, ... }: { jobs."/src/cli/runtime" = makeSearchPaths { }; }' >"$work/makes/src/cli/makes.nix"
  m=$(build "(import $root/nix { pkgs = pkgs // { path = $work/packages; }; }).m")/bin/m
  archive=$("$m" "$work/makes" /container 2>"$work/log") || { cat "$work/log" >&2; fail "m SOURCE /container"; }
  same "$(load <"$archive")" container:latest
  same "$(run container:latest bash -c 'pwd; echo $USER; cat /etc/nix/nix.conf' | tr '\n' ' ')" "/working-dir root build-users-group = "
  docker rmi container:latest >/dev/null
else
  skip_part "STRATA_MAKES names no checkout"
fi
