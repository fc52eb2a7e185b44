# nixpkgs' examples of dockerTools, unmodified, with the functions of strata: those that the fixture supports are built,
# loaded and run, and print the output that nixpkgs' test expects (nixos/tests/docker-tools.nix).
#
#   STRATA_NIXPKGS=CHECKOUT dev/test tests/peers/dockertools-examples
#
# is a checkout with build-support/docker/examples.nix. Excluded are images of a registry (nixFromDockerHub,
# testNixFromDockerHub, onTopOfPulledImage), cross compilation (cross), NixOS (etc), and packages that the fixture
# lacks: redis and emacs, results of stdenv's phases (nix-shell-basic, nix-shell-build-derivation), hello under another
# name (layeredImageWithFakeRootCommands; tests/image/scripts.sh has its assertions).
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
[[ ${STRATA_NIXPKGS-} ]] || skip "STRATA_NIXPKGS names no checkout"
[[ ${docker-} ]] || skip "no docker daemon"
need_command jq

# over EXPR: evaluates with nixpkgs' examples in scope.
over() {
  expression "
    let
      inherit (pkgs) lib;
      stand-in = pkgs // {
        pkgs = stand-in;
        inherit (strata) dockerTools;
        runtimeShell = \"\${pkgs.bash}/bin/bash\";
        pkgsStatic = { inherit (pkgs) busybox; };
        # The functions of stdenv's setup that the examples call.
        stdenv = pkgs.writeTextDir \"setup\" ''
          PATH=
          for input in \$nativeBuildInputs \${pkgs.coreutils} \${pkgs.bash}; do PATH=\$PATH:\$input/bin; done
          runHook() { eval \"''\${!1-}\"; }
        '';
        mkShell = { nativeBuildInputs ? [ ], ... }@arguments:
          pkgs.runCommand \"nix-shell\" (arguments // { inherit nativeBuildInputs; inherit (stand-in) stdenv; }) \"true\";
      };
      file = $STRATA_NIXPKGS/build-support/docker/examples.nix;
      function = import file;
    in with function (builtins.intersectAttrs (builtins.functionArgs function) (strata.dockerTools // { pkgs = stand-in; pkgsCross = null; })); $1"
}
built() { nix-build --no-out-link --expr "$(over "$1")" 2>"$work/log" || { cat "$work/log" >&2; fail "$1 does not build"; }; }
# loads EXAMPLE: loads it, and prints its name. A stream is run.
loads() {
  local path
  path=$(built "$1")
  case $path in
    # Debian's docker does not support it.
    *.zst) zstd -qdc "$path" | load ;;
    *.tar*) load <"$path" ;;
    *) "$path" 2>"$work/log" | load ;;
  esac
}
# prints EXAMPLE EXPECTED [COMMAND…]: runs a container of it, and compares its output.
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
# inspected EXAMPLE FORMAT: prints docker's description of it.
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
  layers=$(jq -r '.layers[].digest | ltrimstr("sha256:")' "$work/stream$suffix/manifest.json")
  [[ $layers ]] || fail "helloOnRootNoStore$suffix has no layers"
  for layer in $layers; do
    names=$(tar -tPf "$work/stream$suffix/$layer")
    [[ $names != *nix/store/* ]] || fail "helloOnRootNoStore$suffix has store paths: $names"
  done
  name=$(load <"$work/stream.tar")
  same "$(run --volume "$store:$store:ro" "$name")" "Hello, world!"
  docker rmi "$name" >/dev/null
done
prints helloOnRoot "Hello, world!"

same "$(inspected bash '{{.Created}}')" 1970-01-01T00:00:01Z
for example in unstableDate unstableDateLayered; do
  created=$(inspected $example '{{.Created}}')
  [[ $created == 20* ]] || fail "$example is not of now: $created"
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
loads nix-layered >/dev/null
name=$(loads bashLayeredWithUser)
same "$(run --user somebody "$name" "$bash" -c 'stat --format=%a /nix /nix/store')" $'755\n755'
docker rmi "$name" >/dev/null
prints runAsRootExtraCommands "(extraCommand)" cat extraCommands
prints runAsRootExtraCommands "(runAsRoot)" cat runAsRoot
prints layered-image "Hello, world!"
prints layered-image "(extraCommand)" cat extraCommands
prints layered-on-top hello
prints layered-on-top-layered hello
layers='{{range .RootFS.Layers}}{{println .}}{{end}}'
shared=$(comm -12 <(inspected layered-image "$layers" | sort) <(inspected another-layered-image "$layers" | sort) | grep -c sha256)
((shared > 0)) || fail "layered-image and another-layered-image share no layer"
for number in 1 2 3; do prints layersOrder "layer$number" cat "/tmp/layer$number"; done
prints layersUnpackOrder abc cat /layer-order
for example in environmentVariables environmentVariablesLayered; do
  name=$(loads $example)
  same "$(run "$name" env | grep -E '^(FROM|LAST)' | sort | tr '\n' ' ')" "FROM_CHILD=true FROM_PARENT=true LAST_LAYER=child "
  docker rmi "$name" >/dev/null
done
prints two-layered-image "Hello, world!"
prints bulk-layer /bin/hello ls /bin/hello
prints layered-bulk-layer /bin/hello ls /bin/hello
same "$(inspected layered-bulk-layer '{{len .RootFS.Layers}}')" 4
prints no-store-paths bin ls /
prints filesInStore "some data"
prints filesInStore "" nix-store --verify --check-contents
prints layeredStoreSymlink "" bash -c "test -L $(nix-instantiate --eval --expr "$(over layeredStoreSymlink.passthru.symlink.outPath)" 2>/dev/null | tr -d '"')"
for example in prefixedImage prefixedLayeredImage; do prints $example "Hello, world!"; done
[[ $(tar -tf "$(built exportBash)") == *./bin/bash* ]] || fail "exportBash has no ./bin/bash"
prints imageViaFakeChroot "Hello, world!"
for kind in build layered; do
  prints $kind-image-with-path "" bash -c '[[ -e /hello.txt ]]'
  same "$(inspected $kind-image-with-architecture '{{.Architecture}}')" arm64
done
for file in /etc/ssl/certs/ca-bundle.crt /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
  prints image-with-certs "" test -r $file
done

# nginx, as a server.
name=$(loads nginx)
container=$(docker run --detach --rm --network host "$name")
wait_for "$(docker inspect --format '{{.State.Pid}}' "$container")" curl --silent --fail --output "$work/page" http://127.0.0.1:80/ ||
  { docker logs "$container" >&2; fail "nginx does not answer"; }
docker kill "$container" >/dev/null
same "$(<"$work/page")" "<html><body><h1>Hello from NGINX</h1></body></html>"
"$(built nginxStream)" 2>"$work/log" | load >/dev/null

# Examples of nix-shell that do not depend on stdenv.
prints nix-shell-run "This shell is not interactive"
prints nix-shell-writable-home "home directory is writable"
prints nix-shell-nonexistent-home "home directory doesn't exist"
for example in "nix-shell-command This shell is interactive" "nix-shell-hook This is the shell hook!" "nix-shell-inputs Hello, world!" "nix-shell-pass-as-file this is a string"; do
  name=$(loads "${example%% *}")
  [[ $(docker run --rm --tty --network none "$name") == *"${example#* }"* ]] || fail "${example%% *}"
  docker rmi "$name" >/dev/null
done
