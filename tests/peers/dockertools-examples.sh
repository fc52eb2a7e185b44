# nixpkgs' own examples of dockerTools, unmodified, over our functions: some that the stand-in can express are built,
# loaded and run, and print what nixpkgs' test of them asserts (nixos/tests/docker-tools.nix).
#
#   STRATA_NIXPKGS=CHECKOUT dev/test tests/peers/dockertools-examples
#
# is a checkout that has build-support/docker/examples.nix. tests/nix/nixpkgs.sh evaluates them all.
. "$root/tests/lib.sh"
[[ ${STRATA_NIXPKGS-} ]] || skip "STRATA_NIXPKGS names no checkout"
[[ ${docker-} ]] || skip "no docker daemon"
need_command jq

# over EXPR: with nixpkgs' examples in scope.
over() {
  expression "
    let
      inherit (pkgs) lib;
      stand-in = pkgs // {
        pkgs = stand-in;
        inherit (strata) dockerTools;
        runtimeShell = \"\${pkgs.bash}/bin/bash\";
        pkgsStatic = { inherit (pkgs) busybox; };
      };
      file = $STRATA_NIXPKGS/build-support/docker/examples.nix;
      function = import file;
    in with function (builtins.intersectAttrs (builtins.functionArgs function) (strata.dockerTools // { pkgs = stand-in; pkgsCross = null; })); $1"
}
built() { nix-build --no-out-link --expr "$(over "$1")" 2>"$work/log" || { cat "$work/log" >&2; fail "$1 does not build"; }; }
# loads EXAMPLE: what it is called then; a stream is run.
loads() {
  local path
  path=$(built "$1")
  case $path in
    # Debian's docker reads none.
    *.zst) zstd -qdc "$path" | load ;;
    *.tar*) load <"$path" ;;
    *) "$path" 2>"$work/log" | load ;;
  esac
}
# prints EXAMPLE EXPECTED [COMMAND…]: what a container of it prints, which is removed afterwards.
prints() {
  local name out
  name=$(loads "$1")
  out=$(run "$name" "${@:3}") || fail "$1 ends with $?"
  [[ $out == *"$2"* ]] || fail "$1 prints: $out"$'\n'"it should have: $2"
  docker rmi "$name" >/dev/null
}
stops() {
  local name
  name=$(loads "$1")
  if run "$name" "${@:2}" >/dev/null 2>&1; then fail "$1 runs"; fi
  docker rmi "$name" >/dev/null
}
# inspected EXAMPLE FORMAT: what docker knows of it.
inspected() {
  local name
  name=$(loads "$1")
  docker image inspect "$name" --format "$2"
  docker rmi "$name" >/dev/null
}

store=$(nix-instantiate --eval --expr builtins.storeDir | tr -d '"')
bash=$(built pkgs.bash)/bin/bash
for suffix in '' Fakechroot; do
  stops "helloOnRootNoStore$suffix"
  "$(built "helloOnRootNoStore$suffix")" 2>"$work/log" >"$work/stream.tar"
  "$strata" copy "$work/stream.tar" "dir:$work/stream$suffix" --quiet >/dev/null
  for layer in $(jq -r '.layers[].digest' "$work/stream$suffix/manifest.json" | cut -d : -f 2); do
    if tar -tPf "$work/stream$suffix/$layer" | grep nix/store/; then fail "helloOnRootNoStore$suffix has store paths"; fi
  done
  name=$(load <"$work/stream.tar")
  same "$(run --volume "$store:$store:ro" "$name")" "Hello, world!"
  docker rmi "$name" >/dev/null
done
prints helloOnRoot "Hello, world!"

same "$(inspected bash '{{.Created}}')" 1970-01-01T00:00:01Z
for example in unstableDate unstableDateLayered; do
  [[ $(inspected $example '{{.Created}}') != 1970-01-01T00:00:01Z ]] || fail "$example is not of now"
done
for example in bash bashUncompressed bashZstdCompressed bashLayeredUncompressed bashLayeredZstdCompressed runAsRootParentImage; do
  prints $example "GNU bash" bash --version
done
for example in bashNoTag bashNoTagLayered bashNoTagStreamLayered; do
  name=$(loads $example)
  same "${name#*:}" "$(nix-instantiate --eval --expr "$(over "$example.imageTag")" 2>/dev/null | tr -d '"')"
  docker rmi "$name" >/dev/null
done
nix=$(built pkgs.nix)
for example in nix nixLayered; do
  prints $example "$nix" nix-store -qR "$nix"
  prints $example "$(readlink "$nix/bin/nix-store")" "$bash" -c "readlink $nix/bin/nix-store"
done
