# Modules of other projects, unmodified, with this library: evaluated, built, copied and run.
#
#   STRATA_NIXPKGS_LIB=… STRATA_DEVENV=… STRATA_STD=… STRATA_DMERGE=… STRATA_NIX=… STRATA_MAKES=… STRATA_FLAKE_PARTS=… STRATA_NIXOS=…
#     dev/test tests/peers/callers
#
# are checkouts of ekala-project/nix-lib (nixpkgs' lib), cachix/devenv, divnix/std, divnix/dmerge, NixOS/nix, fluidattacks/makes,
# hercules-ci/flake-parts, and NixOS/nixpkgs, or another repository with its directory nixos/ (RossComputerGuy/nixpkgs-llvm-ws).
. "$root/tests/lib.sh"
[[ ${STRATA_NIXPKGS_LIB-} ]] || skip "STRATA_NIXPKGS_LIB names no checkout"
export XDG_CACHE_HOME=$work/cache

# caller FILE ARGUMENTS EXPR: prints the store path of EXPR, an attribute of the value of a file in tests/peers/callers.
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
        # The call is that of NixOS/nix's flake. (packaging/hydra.nix)
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
  # Its runtime is a Python environment of poetry2nix, which `m` lacks, from PyPI.
  echo '{ makeSearchPaths, ... }: { jobs."/src/cli/runtime" = makeSearchPaths { }; }' >"$work/makes/src/cli/makes.nix"
  m=$(build "(import $root/nix { pkgs = pkgs // { path = $work/packages; }; }).m")/bin/m
  archive=$("$m" "$work/makes" /container 2>"$work/log") || { cat "$work/log" >&2; fail "m SOURCE /container"; }
  same "$(load <"$archive")" container:latest
  same "$(run container:latest bash -c 'pwd; echo $USER; cat /etc/nix/nix.conf' | tr '\n' ' ')" "/working-dir root build-users-group = "
  docker rmi container:latest >/dev/null
else
  skip_part "STRATA_MAKES names no checkout"
fi

if [[ ${STRATA_FLAKE_PARTS-} ]]; then
  arguments="flakeParts = $STRATA_FLAKE_PARTS;"
  program=$(nix-instantiate --eval --strict --json --expr "(import $root/tests/peers/callers/flake-parts.nix { root = $root; lib = $STRATA_NIXPKGS_LIB; $arguments }).apps.\${builtins.currentSystem}.hello-copy-to-docker-daemon.program" | jq -r .)
  same "$(caller flake-parts "$arguments" 'packages.${builtins.currentSystem}.hello.copyToDockerDaemon')/bin/copy-to-docker-daemon" "$program"
  "$program" --quiet >/dev/null
  same "$(run hello:v1)" "Hello, world!"
  docker rmi hello:v1 >/dev/null
  grep -q ' 0 problems' "$(caller flake-parts "$arguments" 'checks.${builtins.currentSystem}.hello-verified')" || fail "the check"
  same "$(nix-instantiate --eval --strict --json --expr "
    builtins.mapAttrs (_: systems: builtins.attrNames systems.\${builtins.currentSystem})
      { inherit (import $root/tests/peers/callers/flake-parts.nix { root = $root; lib = $STRATA_NIXPKGS_LIB; $arguments }) apps checks packages; }")" \
    '{"apps":["hello-copy-to","hello-copy-to-containerd","hello-copy-to-docker-daemon","hello-copy-to-podman","hello-copy-to-registry"],"checks":["hello-verified"],"packages":["greeting","hello"]}'
else
  skip_part "STRATA_FLAKE_PARTS names no checkout"
fi

if [[ ${STRATA_NIXOS-} ]]; then
  need_new_nix
  mkdir "$work/written"
  # nixos BACKEND WORD
  nixos() { echo "import $root/tests/peers/callers/nixos.nix { root = $root; lib = $STRATA_NIXPKGS_LIB; nixpkgs = $STRATA_NIXOS; backend = \"$1\"; word = \"$2\"; directory = \"$work/written\"; }"; }
  # start_unit FILE: runs the commands with which systemd starts the service, with the engine of this machine.
  start_unit() {
    local command
    mkdir -p /run/app
    { sed -n 's/^ExecStartPre=//p' "$1"; sed -n 's/^ExecStart=//p' "$1"; } >"$work/commands"
    while read -r command; do "$command" </dev/null || return 1; done <"$work/commands"
  }
  nix-instantiate --eval --strict --json --expr "($(nixos podman "")).template" 2>"$work/log" | jq -r . >"$work/unit" || { cat "$work/log"; fail "the template nixos"; }
  grep -qE '^ExecStartPre=/nix/store/.*/bin/copy-to-podman' "$work/unit" || { cat "$work/unit"; fail "the template nixos loads no image"; }
  for backend in docker podman; do
    same "$(nix-instantiate --eval --strict --json --expr "let found = $(nixos $backend ""); in [ found.references found.loads found.mistakes ]")" \
      '[["nixos-app:v1","docker.io/library/alpine:3","streamed:v1"],[2,1,1],[]]'
    same "$(nix-instantiate --eval --strict --json --expr "($(nixos $backend "")).clashes")" \
      '[[],["virtualisation.oci-containers: the containers a, b, c have different images with the name same:v1; give them different names or tags"]]'
    if [[ $backend == podman ]]; then . "$root/tests/engines.sh"; use_podman "$work/podman"; fi
    for word in one two; do
      unit=$(nix-build --no-out-link --expr "($(nixos $backend $word)).unit" 2>"$work/log") || { cat "$work/log"; fail "the unit for $backend"; }
      start_unit "$unit" >"$work/log" 2>&1 || { cat "$work/log"; fail "$backend: the service does not start"; }
      # podman runs the container in the background, and removes it at its end.
      [[ $backend == docker ]] || podman wait app >/dev/null 2>&1 || true
      same "$(<"$work/written/word")" "$word"
    done
    # A change loads one layer.
    read -r existing all < <(sed -nE 's/.* ([0-9]+) of ([0-9]+) layers.*/\1 \2/p' "$work/log")
    same "$((all - existing))" 1
    "$backend" rmi --force nixos-app:v1 >/dev/null
  done
else
  skip_part "STRATA_NIXOS names no checkout"
fi
