# Guards, options that are refused because they would have no effect, links in cycles, and messages for mistakes.
. "$root/tests/lib.sh"
need_command jq

# Packages, store paths and names are found, in every function and in all kinds of layers.
coreutils=$(build pkgs.coreutils)
for forbidden in pkgs.coreutils '"${pkgs.coreutils}"' '"coreutils"' '"coreutils-*"' '"*utils*"' "\"$coreutils\""; do
  build_fails "buildImage { name = \"x\"; config.Cmd = [ pkgs.coreutils ]; forbiddenPaths = [ $forbidden ]; }" \
    "argument forbiddenPaths: " "is in the image:" "└ $coreutils"
done
for image in 'makeContainerImage { layers = [ pkgs.coreutils ];' 'makeContainerImage { layered = false; layers = [ (pkgs.writeTextDir "x" "${pkgs.coreutils}") ];' \
  'makeContainerImage { extraCommands = "echo ${pkgs.coreutils} > x";' 'buildImage { name = "x"; layers = [ (buildLayer { deps = [ pkgs.coreutils ]; }) ];' \
  'buildImage { name = "x"; layers = [ (ociLayerTar { closure = true; files = [ { source = pkgs.coreutils; destination = "/"; } ]; }) ];' \
  'buildImage { name = "x"; fromImage = buildImage { name = "b"; config.Cmd = [ pkgs.coreutils ]; };'; do
  build_fails "$image forbiddenPaths = [ pkgs.coreutils ]; }" "is in the image:" "└ $coreutils"
done
# Other packages are not found, and are not built.
build 'buildImage { name = "x"; config.Cmd = [ pkgs.hello ]; forbiddenPaths = [ "hell" "ello" pkgs.jq (pkgs.runCommand "never" { } "false") ]; }' >/dev/null
for forbidden in '"/bin/sh"' '"/usr/*"' '""' '"two words"'; do
  build_fails "buildImage { name = \"x\"; forbiddenPaths = [ $forbidden ]; }" "argument forbiddenPaths: $forbidden matches nothing"
done
build_fails 'buildImage { name = "x"; forbiddenPaths = [ 7 ]; }' "takes packages, store paths and names of packages, not a int"

# perms for paths in other layers.
text=$(expression 'buildImage { name = "x"; copyToRoot = pkgs.hello; perms = [ { path = pkgs.jq; regex = ".*"; mode = "0600"; } ]; }')
nix-build --no-out-link --expr "$text" 2>"$work/log" >/dev/null || { cat "$work/log"; fail "perms of other paths are no error"; }
# A cached build prints no warning.
if grep -q building "$work/log"; then grep -q "argument perms, element 1: .*-jq-.* is not among" "$work/log" || { cat "$work/log"; fail "perms of nothing are silent"; }; fi

# Names with special characters of regular expressions are moved too.
path=$(build 'buildImage { name = "x"; copyToRoot = pkgs.runCommand "gtk+-3?0" { } "mkdir $out; echo x > $out/moved"; }')
"$strata" stream "$path" | tar -xO --wildcards '*/layer.tar' 2>/dev/null | tar -tP >"$work/listing" 2>/dev/null ||
  { "$strata" stream "$path" | tar -x -C "$work"; tar -tPf "$work/$(jq -r '.[0].Layers[0]' "$work/manifest.json")" >"$work/listing"; }
same "$(cat "$work/listing")" $'/\n/moved'

# All functions follow links to directories in the same way, and keep those in cycles.
shapes='(pkgs.runCommand "shapes" { } "mkdir -p $out/bin $out/a $out/b $out/c $out/d/e; echo x > $out/bin/x; echo a > $out/a/file; echo b > $out/b/file
  ln -s . $out/usr; ln -s ../.. $out/d/e/up; ln -s ../b $out/a/b; ln -s ../a $out/b/a; ln -s ../a $out/c/a; ln -s bin $out/sbin; ln -s nothing $out/gone; ln -s loop $out/loop")'
expected='/a/b -> ../b
/b/a -> ../a
/c/a/b -> ../b
/c/a/file
/d/e/up -> ../..
/gone -> nothing
/loop -> loop
/sbin/x
/usr -> .'
list_layer() { tar -tvP | sed -E 's/^.{5}\S* +\S+ +\S+ +\S+ +\S+ //' | grep -E '^/(a/b|b/a|c/a/|d/e/up|gone|loop|sbin/|usr)' | LC_ALL=C sort; }
layer=$(build "ociLayerTar { compression = \"\"; files = [ { source = $shapes; destination = \"/\"; } ]; }")
same "$(list_layer <"$layer/layer.tar")" "$expected"
for script in '' 'runAsRoot = "true";'; do
  path=$(build "makeContainerImage { layered = false; compressor = \"none\"; layers = [ $shapes ]; $script }")
  same "$(tar -xOf "$path" "$(tar -xOf "$path" manifest.json | jq -r '.[0].Layers[0]')" | list_layer)" "$expected"
done

# An older image in each form.
for previous in image image.recipe '"${image.recipe}/image.json"' stream; do
  build "let arguments = { name = \"x\"; contents = [ pkgs.hello ]; }; image = dockerTools.buildLayeredImage arguments; stream = dockerTools.streamLayeredImage arguments;
    in dockerTools.buildLayeredImage { name = \"x\"; contents = [ pkgs.hello pkgs.jq ]; previous = $previous; }" >/dev/null
done
build 'buildImage { name = "x"; config.Cmd = [ pkgs.hello ]; previous = buildImage { name = "x"; config.Cmd = [ pkgs.jq ]; }; }' >/dev/null

# A layer is not a package.
for layer in 'buildLayer { deps = [ pkgs.hello ]; }' 'ociLayerTar { }'; do
  for image in 'makeContainerImage { layers' 'dockerTools.buildLayeredImage { name = "x"; contents' 'dockerTools.buildImage { name = "x"; copyToRoot'; do
    build_fails "$image = [ ($layer) ]; }" "one of them is a layer" "give the packages of the layer instead"
  done
done

# The error about a clash has a remedy of the called function.
two='one = pkgs.writeTextDir "etc/x" "1"; two = pkgs.writeTextDir "etc/x" "2";'
build_fails "let $two in ociLayerTar { files = map (source: { inherit source; destination = \"/\"; }) [ one two ]; }" "two sources want /etc/x" "give one of them another \`destination\`"
lacks -q 'copyToRoot' "$work/log"
build_fails "let $two in buildImage { name = \"x\"; copyToRoot = [ one two ]; }" "two sources want /etc/x" "use \`deps\` instead of \`copyToRoot\`"
