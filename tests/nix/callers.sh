# The functions and results of this library that modules of other projects rely on. tests/peers/callers.sh runs those
# modules.
. "$root/tests/lib.sh"
evaluates() { same "$(nix-instantiate --eval --strict --json --expr "$(expression "$1")")" "$2"; }

# devenv (src/modules/containers.nix): every attribute of `perms` exists, and is null if the user has not set it.
tree='(pkgs.runCommand "tree" { } "mkdir -p $out/home/user; echo x > $out/home/user/file")'
null=$(build "buildLayer { copyToRoot = $tree; perms = [ { path = $tree; regex = null; mode = null; uid = 1000; gid = null; uname = null; gname = null; } ]; }")
none=$(build "buildLayer { copyToRoot = $tree; perms = [ { path = $tree; uid = 1000; } ]; }")
same "$(jq -c '.[].paths[0].options.perms' "$null/layers.json")" '[{"regex":"","mode":"","uid":1000,"gid":0,"uname":"","gname":""}]'
same "$(jq -c '[.[].digest]' "$none/layers.json")" "$(jq -c '[.[].digest]' "$null/layers.json")"

# divnix/std (src/lib/ops/mkOCI.nix): lib.lazyDerivation reads `outputs` and `meta`. passthru has the attributes of a
# result.
results='[
  (buildImage { name = "x"; }) (buildLayer { }) (makeContainerImage { }) (dockerTools.buildImage { name = "x"; })
  (dockerTools.streamLayeredImage { name = "x"; }) (ociLayerTar { }) (ociImageConfig { }) (ociImageManifest { }) (ociImageLayout { })
  (pullImage { imageName = "x"; imageDigest = "sha256:0"; sha256 = "0000000000000000000000000000000000000000000000000000"; })
  (makeDerivation { name = "x"; builder = ""; }) (makeScript { name = "x"; entrypoint = ""; }) dockerTools.binSh dockerTools.fakeNss m
  (buildImage { name = "x"; }).stream (buildImage { name = "x"; }).copyTo (buildImage { name = "x"; }).detached
]'
evaluates "builtins.map (result: result.outputs == [ \"out\" ] && builtins.isAttrs result.meta
  && builtins.all (name: result ? \${name}) (builtins.attrNames result.passthru) && (result.overrideAttrs (old: { })).drvPath == result.drvPath) $results
  == builtins.map (_: true) $results" true
# overrideAttrs changes the derivation, and keeps the added attributes.
evaluates '
  let
    image = buildImage { name = "x"; };
    more = old: { passthru = old.passthru // { more = 1; }; };
    changed = (image.overrideAttrs more).overrideAttrs { name = "y"; };
  in [ changed.more changed.passthru.more changed.name (changed.copyTo.drvPath != image.copyTo.drvPath) (changed.imageTag != image.imageTag) ]' \
  '[1,1,"y",true,true]'
# meta.position is the location of the image's definition.
cat >"$work/position.nix" <<'NIX'
{ strata }:
map (function: (function {
  name = "x";
}).meta.position) [ strata.buildImage strata.dockerTools.buildLayeredImage strata.makeContainerImage ]
NIX
evaluates "import $work/position.nix { inherit strata; }" "[\"$work/position.nix:3\",\"$work/position.nix:3\",\"$work/position.nix:3\"]"

# A regular expression of `perms` without matches is a warning: std's mkUser has one for a home that buildEnv makes a
# link.
unmatched="buildLayer { copyToRoot = $tree; perms = [ { path = $tree; regex = \"/home/other$RANDOM\"; mode = \"0744\"; } ]; }"
nix-build --no-out-link --expr "$(expression "$unmatched")" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; fail "perms that match nothing"; }
grep -q 'warning: argument perms, element 1: no file of /nix/store/.*-tree matches "/home/other' "$work/log" || { cat "$work/log"; fail "no warning"; }

# `import strata { inherit pkgs system; }`, as in nix2container's default.nix.
evaluates "(import $root { inherit pkgs; inherit (pkgs) system; }).buildImage { name = \"x\"; } ? drvPath" true

# dockerTools.override: packages in images are replaced, packages of nixpkgs' implementation are ignored, and others are
# errors.
evaluates '
  let
    changed = dockerTools.override { cacert = pkgs.hello; coreutils = pkgs.jq; writePython3 = null; vmTools = null; };
    nss = dockerTools.override (old: { fakeNss = pkgs.hello; });
  in [
    (changed.caCertificates.drvPath == dockerTools.caCertificates.drvPath) (changed.usrBinEnv.drvPath == dockerTools.usrBinEnv.drvPath)
    (changed.binSh.drvPath == dockerTools.binSh.drvPath) (nss.fakeNss.drvPath == pkgs.hello.drvPath)
    (changed.buildImage { name = "x"; } ? drvPath) ((changed.override { }).buildImage { name = "x"; } ? drvPath)
  ]' '[false,false,true,true,true,true]'
build_fails '(dockerTools.override { cacrt = null; }).caCertificates' "dockerTools.override has no argument cacrt; did you mean cacert?"
# The defaults of the library send least; those of nix2container's functions are nix2container's.
evaluates '
  let request = result: let grouping = result.drvAttrs.strata.request.grouping; in [ grouping.maxLayers grouping.layering.strategy ];
  in map request [ (buildImage { name = "x"; }) (buildLayer { }) (nix2container.buildImage { name = "x"; }) (nix2container.nix2container.buildLayer { }) ]' \
  '[[64,"transfer"],[64,"transfer"],[1,"popularity"],[1,"popularity"]]'
# A part that is replaced for all functions.
evaluates '((overrideScope (final: prev: { defaults = prev.defaults // { maxLayers = 7; }; })).buildImage { name = "x"; }).drvAttrs.strata.request.grouping.maxLayers' 7

evaluates '((overrideScope (final: prev: { nix2containerDefaults = prev.nix2containerDefaults // { maxLayers = 7; }; })).nix2container.buildImage { name = "x"; }).drvAttrs.strata.request.grouping.maxLayers' 7
# Functions can be added, as in nixpkgs' scopes, also by a second change.
evaluates '((overrideScope (final: prev: { greeter = { }: final.buildImage { name = "greeter"; }; })).overrideScope (_: _: { })).greeter { } ? drvPath' true
build_fails '(overrideScope (_: _: { defaults.maxLayers = 7; })).buildImage { name = "x"; }' \
  "defaults of overrideScope lacks keepsArchiveTimes and layering and" "write defaults = prev.defaults // { … }"
build_fails '(overrideScope (_: prev: { defaults = prev.defaults // { maxLayer = 7; }; })).buildImage { name = "x"; }' \
  "argument defaults of overrideScope has no attribute maxLayer; did you mean maxLayers?"
# The arguments of the library itself are checked.
build_fails "import $root/nix { pkgs.legacyPackages = { }; }" "the argument pkgs is a flake, not a package set; write nixpkgs.legacyPackages."
build_fails "import $root/nix pkgs" "the library takes an attribute set, not a package set; write { pkgs = …; } or { inherit pkgs; }"
build_fails "import $root/nix { inherit pkgs; hostPkg = pkgs; }" "the library has no argument hostPkg; did you mean hostPkgs?"
build_fails "(import $root/nix { }).buildImage { name = \"x\"; }" "the library needs the argument pkgs, a package set"
build_fails "(import $root/nix { pkgs.stdenv.hostPlatform = { isLinux = false; system = \"x86_64-freebsd\"; }; hostPkgs = pkgs; }).buildImage { name = \"x\"; }" \
  "images contain Linux packages, and the package set is for x86_64-freebsd; give one for Linux as \`pkgs\`"

# skopeo-nix2container has skopeo's command line.
skopeo=$(build 'nix2container.skopeo-nix2container')/bin/skopeo
image=$(build 'buildImage { name = "skopeo"; tag = "t"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
"$skopeo" --insecure-policy --tmpdir "$work" --command-timeout 1m --override-os linux copy -a --remove-signatures "nix:$image" "oci:$work/layout:t" >/dev/null
same "$("$skopeo" inspect --raw "oci:$work/layout:t" | sha256sum | cut -d ' ' -f 1)" "$(jq -r '.manifests[0].digest' "$work/layout/index.json" | cut -d : -f 2)"
same "$("$skopeo" inspect --config "nix:$image" | jq -r '.config.Cmd[0]')" "$(build pkgs.hello)/bin/hello"
if "$skopeo" --policy /dev/null copy "nix:$image" "oci:$work/layout:t" 2>"$work/log"; then fail "--policy is ignored"; fi
grep -qF -- '--policy: strata reads no policy files' "$work/log" || { cat "$work/log"; fail "no reason"; }
