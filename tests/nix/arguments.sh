# Mistakes in arguments throw, and say what to write instead.
. "$root/tests/lib.sh"
build_fails 'buildImage { name = "x"; maxLayer = 1; }' \
  "buildImage has no argument maxLayer; it has annotations, arch, config, contents, copyToRoot, created, forbiddenPaths,"
build_fails 'buildImage { }' "buildImage needs the argument name"
build_fails 'buildImage "x"' "buildImage takes an attribute set, not a string"
build_fails 'buildImage { name = "x"; config = [ ]; }' "argument config of buildImage must be an attribute set, not a list"
build_fails 'makeContainerImage { config = "x"; }' "argument config of makeContainerImage must be an attribute set, not a string"
build_fails 'buildImage { name = "x"; maxLayers = 0; }' "argument maxLayers of buildImage must be a number, 1 or more, not 0"
build_fails 'buildLayer { maxLayers = "3"; }' "argument maxLayers of buildLayer must be a number"
build_fails 'makeContainerImage { maxLayers = 1; }' "argument maxLayers of makeContainerImage must be a number, 2 or more, not 1"
build_fails 'makeContainerImage { layers = pkgs.hello; }' "argument layers of makeContainerImage must be a list"
build_fails 'buildImage { name = "x"; layers = [ pkgs.hello ]; }' "takes results of buildLayer and ociLayerTar; put packages in deps"
build_fails 'makeContainerImage { layers = [ (pkgs.writeText "x" "y") ]; }' "-x is a file; only directories can be linked"
build_fails 'buildImage { name = "x"; contents = pkgs.hello; copyToRoot = pkgs.hello; }' "both copyToRoot and contents"
# Found when they are built.
build_fails 'buildImage { name = "x"; config.Entrypiont = [ "/x" ]; }' "config.Entrypiont is unknown"
build_fails 'buildImage { name = "x"; config.Env.PATH = "/bin"; }' "config.Env: invalid type: map"
build_fails 'buildImage { name = "x"; created = "yesterday"; }' 'request.created: "yesterday" is no RFC 3339 time'
build_fails 'buildImage { name = "x"; copyToRoot = [ (pkgs.writeTextDir "a" "1") (pkgs.writeTextDir "a" "2") ]; }' \
  "two sources want /a in the image" "their contents differ" "pathsToLink"
build_fails 'buildLayer { layering = "best"; }' "argument layering of buildLayer must be auto, popularity, transfer or a layeringPipeline, not best"
build_fails 'buildLayer { deps = [ pkgs.hello ]; maxLayers = 2; weights.roots = 2; }' 'argument weights is for layering = "transfer"'
build_fails 'pullImageFromManifest { imageName = "x"; }' "needs the argument imageManifest; its getManifest prints one"
