# nix2container's examples and tests, unmodified, with the functions of strata: those that need no network.
#
#   STRATA_NIX2CONTAINER=CHECKOUT dev/test tests/peers/nix2container-tests
#
# is a checkout of nlewo/nix2container. Its examples/uwsgi needs a package that the fixture lacks.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
[[ ${STRATA_NIX2CONTAINER-} ]] || skip "STRATA_NIX2CONTAINER names no checkout"
need_command podman
use_podman "$work/podman"
for name in hello basic openbar bashVersion bashLs layered nonReproducible nested ownership nix nix-user nixNested nonRegressionIssue12 nonRegressionIssue45 copyToRoot created \
  duplicated metadata; do
  script=$(nix-build --no-out-link --expr "
    let
      fixture = import $root/tests/hostpkgs { };
      # Packages that the fixture lacks.
      pkgs = fixture // {
        inherit pkgs;
        callPackage = file: arguments: let f = import file; in f (builtins.intersectAttrs (builtins.functionArgs f) pkgs // arguments);
        runCommand = name: environment: fixture.runCommand name (environment // {
          nativeBuildInputs = [ fixture.findutils fixture.gnugrep ] ++ environment.buildInputs or [ ];
        });
        podman = fixture.writeShellScriptBin \"podman\" \"exec podman \\\"\\\$@\\\"\";
        readline = fixture.jq;
        # Debian's 2.8 has \`nix config check\` as \`nix doctor\`.
        nix = fixture.symlinkJoin {
          name = \"nix\";
          paths = [
            (fixture.writeShellScriptBin \"nix\" ''
              if [[ \"''\${*: -2}\" == \"config check\" ]]; then set -- \"''\${@:1:\$#-2}\" doctor; fi
              exec \${fixture.nix}/bin/nix \"\$@\"
            '')
            fixture.nix
          ];
        };
        lib = fixture.lib // {
          toInt = builtins.fromJSON;
          mapAttrs' = _: _: { };
        };
      };
      inherit (import $root { inherit pkgs; }) nix2container;
      examples = import $STRATA_NIX2CONTAINER/examples { inherit pkgs nix2container; };
    in (import $STRATA_NIX2CONTAINER/tests { inherit pkgs nix2container examples; }).$name" 2>"$work/log") ||
    { cat "$work/log" >&2; fail "$name does not build"; }
  bash "$script/bin/test-script" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "nix2container's test $name"; }
  grep -q "Test passed" "$work/log" || { cat "$work/log" >&2; fail "nix2container's test $name"; }
done
podman rmi --all --force >/dev/null
