# The flake over package sets of systems other than this one: each output of the supported systems evaluates, packages
# in images are for Linux, and programs that copy them are for the host.
. "$root/tests/lib.sh"

# evaluates EXPR EXPECTED: evaluates with the flake's outputs and a small stand-in for nixpkgs.
evaluates() {
  same "$(nix-instantiate --eval --strict --json --option allow-import-from-derivation false --expr "
    let
      on = system: import $root/tests/hostpkgs { inherit system; };
      throws = throw \"nixpkgs 26.11 has dropped support for x86_64-darwin\";
      legacyPackages = {
        x86_64-linux = on \"x86_64-linux\";
        aarch64-linux = on \"aarch64-linux\";
        riscv64-linux = on \"riscv64-linux\";
        aarch64-darwin = on \"aarch64-darwin\";
        x86_64-darwin = throws;
      };
      over = nixpkgs: let flake = (import $root/flake.nix).outputs { self = flake; inherit nixpkgs; }; in flake;
      flake = over { inherit legacyPackages; };
      # Every derivation in nested attribute sets.
      derivations = value:
        if value ? drvPath then [ value.drvPath ]
        else if builtins.isAttrs value then builtins.concatMap derivations (builtins.attrValues value)
        else [ ];
      kinds = [ \"packages\" \"checks\" \"devShells\" \"formatter\" ];
      of = flake: system: builtins.length (builtins.concatMap (kind: derivations flake.\${kind}.\${system}) kinds);
    in $1" 2>"$work/log" || cat "$work/log" >&2)" "$2"
}

systems='[ "x86_64-linux" "aarch64-linux" "riscv64-linux" "aarch64-darwin" ]'
evaluates "map (of flake) $systems" "[18,18,18,18]"
evaluates 'builtins.attrNames flake.packages' '["aarch64-darwin","aarch64-linux","riscv64-linux","x86_64-linux"]'
evaluates "flake.lib.systems == $systems ++ [ \"x86_64-darwin\" ]" true
# x86_64-darwin is a system if nixpkgs has it, in the releases before 26.11.
evaluates '
  let
    release = version: packages: over { legacyPackages = packages; lib.trivial.release = version; };
    all = legacyPackages // { x86_64-darwin = on "x86_64-darwin"; };
    last = release "26.05" all;
    has = flake: flake.packages ? x86_64-darwin;
  in [
    (of last "x86_64-darwin") last.packages.x86_64-darwin.image.system last.packages.x86_64-darwin.image.stream.system
    (map has [ (release "26.11" all) (release "27.05" all) (release "25.11" { }) (release "25.11" all) ])
  ]' \
  '[18,"x86_64-linux","x86_64-darwin",[false,false,false,true]]'
# Other systems can be added.
evaluates '
  let more = (over { legacyPackages = legacyPackages // { i686-linux = on "x86_64-linux"; }; }).lib.forSystems (flake.lib.systems ++ [ "i686-linux" ]);
  in of more "i686-linux"' 18
# A system that throws does not affect others, and the library over a package set needs no list of systems.
evaluates 'of (over { legacyPackages = legacyPackages // { aarch64-darwin = throws; }; }) "x86_64-linux"' 18
evaluates '((over throws).lib.mkLib { pkgs = on "x86_64-linux"; }).buildImage { name = "x"; } ? drvPath' true

# On darwin.
evaluates 'let image = flake.packages.aarch64-darwin.image; in [ image.system image.stream.system flake.packages.aarch64-darwin.m.system ]' \
  '["aarch64-linux","aarch64-darwin","aarch64-darwin"]'
evaluates 'let image = flake.packages.aarch64-darwin.nix2container.buildImage { name = "x"; }; in [ image.system image.copyTo.system ]' \
  '["aarch64-linux","aarch64-darwin"]'
evaluates 'let image = flake.lib.mkLib { pkgs = on "aarch64-linux"; hostPkgs = on "aarch64-darwin"; }; in (image.buildImage { name = "x"; }).copyTo.system' '"aarch64-darwin"'
# A package set for darwin alone, and the overlay on it: images of its Linux packages, copy programs for darwin.
evaluates '
  let
    pkgs = on "aarch64-darwin";
    final = pkgs // { buildPackages = final; callPackage = _: _: pkgs.strata; } // flake.overlays.default final pkgs;
    libraries = [ (flake.lib.mkLib { inherit pkgs; }) (import '"$root"'/nix { inherit pkgs; }) (import '"$root"' { inherit pkgs; }) final.strata ];
    image = library: library.buildImage { name = "x"; };
  in map (library: [ (image library).system (image library).copyTo.system library.platform.architecture ]) libraries' \
  '[["aarch64-linux","aarch64-darwin","arm64"],["aarch64-linux","aarch64-darwin","arm64"],["aarch64-linux","aarch64-darwin","arm64"],["aarch64-linux","aarch64-darwin","arm64"]]'
evaluates 'map (system: flake.legacyPackages.${system}.platform.architecture) '"$systems" '["amd64","arm64","riscv64","arm64"]'

# `nix flake show` prints these descriptions.
evaluates '
  let
    described = builtins.filter (name: name != "default" && name != "strata" && name != "nix2container") (builtins.attrNames flake.packages.x86_64-linux);
    inherit (flake.packages.x86_64-linux) image;
  in map (name: flake.packages.x86_64-linux.${name}.meta.description) described ++ [ image.copyToRegistry.meta.description image.stream.meta.description ]' \
  '["Container image hello","Runner of the jobs of Makes projects","strata under the name of nix2container","strata with the command line of skopeo","Copies the image hello:latest to its registry","Container image hello"]'

# Without flakes, and under nix2container's names.
evaluates '
  let
    here = import '"$root"' { pkgs = on "x86_64-linux"; };
    upstream = flake.packages.x86_64-linux;
    image = set: (set.buildImage { name = "x"; }).drvPath;
  in [
    (image here != image here.nix2container)
    (image here.nix2container == image upstream.nix2container && image here.nix2container == image upstream.nix2container.nix2container)
    (here.skopeo-nix2container.drvPath == upstream.skopeo-nix2container.drvPath)
    (here.nix2container-bin.meta.mainProgram == "nix2container")
  ]' '[true,true,true,true]'

# The overlay, and over dockerTools too.
evaluates '
  let
    pkgs = on "x86_64-linux";
    fixed = overlay: let final = pkgs // { buildPackages = final; callPackage = _: _: pkgs.strata; } // overlay final pkgs; in final;
    own = fixed flake.overlays.default;
    replaced = fixed (final: prev: flake.overlays.default final prev // { inherit (final.strata) dockerTools; });
  in [
    (own.strata.buildImage { name = "x"; } ? drvPath)
    (own.strata.outPath == pkgs.strata.outPath)
    ((own.strata.overrideAttrs (old: { passthru = old.passthru // { more = 1; }; })).buildImage { name = "x"; } ? drvPath)
    (own.dockerTools == pkgs.dockerTools)
    (replaced.dockerTools.buildLayeredImage { name = "x"; } ? drvPath)
    (builtins.attrNames replaced.dockerTools == builtins.attrNames own.strata.dockerTools)
  ]' '[true,true,true,true,true,true]'

# The lines for flake-parts, as docs/migrating.md has them.
lines=$(sed -n '/flake\.parts/,/^```$/p' "$root/docs/migrating.md" | sed '1,/^```nix$/d; /^```$/d')
[[ $lines == *perSystem* ]] || fail "docs/migrating.md does not mention flake-parts"
evaluates "
  let
    module = { inputs }: { $lines };
    jobs = (module { inputs.strata = flake; }).perSystem { pkgs = null; system = \"aarch64-linux\"; };
  in (jobs._module.args.strata.buildImage { name = \"x\"; }).system" '"aarch64-linux"'

# nix/package: changes of files that cargo does not read do not change the package.
mkdir "$work/copy"
git -C "$root" ls-files -z | tar -C "$root" --null -cT - | tar -x -C "$work/copy"
source_of_package() {
  nix-instantiate --eval --read-write-mode --json --expr "
    (import $work/copy/nix/package/package.nix {
      lib = { licenses = { mit = 1; asl20 = 2; }; platforms = { linux = [ ]; darwin = [ ]; }; };
      rustPlatform.buildRustPackage = package: package { };
      callPackage = null; gitMinimal = null; installShellFiles = null; stdenv = null;
    }).src" | tr -d '"'
}
before=$(source_of_package)
same "$(find "$before" -type f -printf '%P\n' | grep -vE '^(src|benches|tests/golden|tests/it)/' | sort | tr '\n' ' ')" "Cargo.lock Cargo.toml "
for file in README.md tests/lib.sh tests/nix/arguments.sh tests/image/errors.sh nix/default.nix; do echo "# changed" >>"$work/copy/$file"; done
same "$(source_of_package)" "$before"
echo "// changed" >>"$work/copy/src/lib.rs"
[[ $(source_of_package) != "$before" ]] || fail "a change of src/lib.rs is not in the package's source"

# docs/flake.md lists every output.
grep -oE "\`[a-zA-Z]+\.[^\` ]+\`" "$root/docs/flake.md" | tr -d "\`" | sed -E "s/\.SYSTEM(\.|$)/\1/" >"$work/documented"
evaluates '
  let
    of = kind: map (name: "${kind}.${name}") (builtins.attrNames flake.${kind});
    perSystem = kind: map (name: "${kind}.${name}") (builtins.attrNames flake.${kind}.x86_64-linux);
    outputs = builtins.concatMap of [ "templates" "lib" "overlays" "flakeModules" "nixosModules" ] ++ builtins.concatMap perSystem [ "packages" "devShells" ];
    documented = builtins.filter builtins.isString (builtins.split "\n" (builtins.readFile '"$work/documented"'));
  in {
    missing = builtins.filter (name: !(builtins.elem name documented)) outputs;
    others = builtins.filter (kind: !(builtins.elem kind [ "checks" "devShells" "flakeModules" "formatter" "legacyPackages" "lib" "nixosModules" "overlays" "packages" "templates" ])) (builtins.attrNames flake);
  }' '{"missing":[],"others":[]}'
