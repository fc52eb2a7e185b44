# Mistakes in arguments are errors of the evaluation, before anything is built. The message has the name of the argument
# and a remedy.
. "$root/tests/lib.sh"

# Each mistake, and a part of the message. All are evaluated at once.
mistakes=()
throws() { mistakes+=("$@"); }
layered=dockerTools.buildLayeredImage
single=dockerTools.buildImage

throws 'buildImage { name = "x"; maxLayer = 1; }' "buildImage has no argument maxLayer; did you mean maxLayers? It has allowOtherBasePlatform, annotations, arch,"
throws "$single \"x\"" "$single takes an attribute set, not a string; write $single { … }"
for function in buildImage buildLayer makeContainerImage $layered $single; do
  throws "$function pkgs.hello" "$function takes an attribute set, not a package; write $function { … }"
done
throws 'buildImage { name = "x"; zzzzzz = 1; }' "buildImage has no argument zzzzzz; it has allowOtherBasePlatform, annotations, arch,"
throws 'makeContainerImage { zzzzzz = 1; }' "makeContainerImage has no argument zzzzzz; it has allowOtherBasePlatform, architecture, buildVMMemorySize,"
throws 'buildImage { name = "x"; layers = [ (buildLayer { }) ]; isolatedDeps = [ (buildLayer { }) ]; }' "buildImage has both layers and isolatedDeps"
throws 'buildImage { name = "x"; copyToRoot = "${pkgs.hello}/bin"; }' '/bin", which is only a part of a package; give the package'
throws 'buildLayer { ignore = "hello"; }' "argument ignore of buildLayer is the string \"hello\""
throws 'dockerTools.buildNixShellImage { drv = pkgs.hello; compresor = "gz"; }' "dockerTools.buildNixShellImage has no argument compresor; did you mean compressor?"
throws 'dockerTools.exportImage { fromImage = pkgs.hello; nme = "x"; }' "dockerTools.exportImage has no argument nme; did you mean name?"
throws '(dockerTools.buildImage { name = "x"; }).override { tagg = "1"; }' "dockerTools.buildImage has no argument tagg; did you mean tag?"
throws 'lockedImage { file = ./x; varian = "v8"; }' "lockedImage has no argument varian; did you mean variant?"
# Names and tags.
for name in a..b -c c- a.-b a___b /a a//b a/-b "$(printf 'x%.0s' {1..256})"; do
  throws "buildImage { name = \"$name\"; }" "argument name of buildImage is \"$name\", which is not an image name"
done
for function in buildImage $layered $single makeContainerImage; do
  throws "$function { name = 3; }" "argument name of $function must be a string, not 3"
  throws "$function { name = \"\"; }" "argument name of $function is empty; an image needs a name"
  throws "$function { name = \"x:1\"; }" "argument name of $function is \"x:1\", which is not an image name"
  throws "$function { name = \"x\"; tag = \"UPPER/slash\"; }" "argument tag of $function is \"UPPER/slash\", which is not a tag"
  throws "$function { name = \"x\"; tag = 1; }" "argument tag of $function must be a string, not 1"
  throws "$function { name = \"x\"; fromImage = \"alpine:3\"; }" "argument fromImage of $function is the string \"alpine:3\"; use pullImage for an image in a registry"
  throws "$function { name = \"x\"; fromImage = \"/tmp/x.tar\"; }" "argument fromImage of $function is the string \"/tmp/x.tar\", which no sandbox has"
  throws "$function { name = \"x\"; fromImage = buildLayer; }" "argument fromImage of $function is a function; call it"
  throws "$function { name = \"x\"; fromImage = [ pkgs.hello ]; }" "argument fromImage of $function is a list; an image is built on one other"
  throws "$function { name = \"x\"; config = x: x; }" "argument config of $function is a function; call it"
  throws "$function { name = \"x\"; config = [ ]; }" "argument config of $function must be an attribute set, not a list"
  throws "$function { name = \"x\"; config = pkgs.hello; }" "argument config of $function must be an attribute set, not a package"
done
# Owners.
for function in $layered $single; do
  throws "$function { name = \"x\"; uid = \"1000\"; }" "argument uid of $function must be a number, without quotes, not a string"
  throws "$function { name = \"x\"; gid = -1; }" "argument gid of $function must be a number, without quotes, not -1"
done
throws 'buildImage { name = "x"; initializeNixDatabase = true; nixUid = "1000"; }' "argument nixUid of buildImage must be a number, without quotes, not a string"
throws 'buildImage { name = "x"; perms = [ { path = pkgs.hello; regex = "x"; uid = "1000"; } ]; }' "argument perms: uid of buildImage must be a number, without quotes, not a string"
throws 'buildLayer { perms = [ { path = pkgs.hello; regex = "x"; mode = 644; } ]; }' 'argument perms: mode of buildLayer must be an octal number in quotes, like "0644", not 644'
throws 'ociLayerTar { files = [ { source = pkgs.hello; destination = "/x"; gid = "0"; } ]; }' "argument files: gid of ociLayerTar must be a number, without quotes, not a string"
throws 'ociLayerTar { files = [ { source = pkgs.hello; destination = "/x"; mode = "rwx"; } ]; }' 'argument files: mode of ociLayerTar must be an octal number in quotes, like "0644", not a string'
throws 'buildLayer { deps = [ pkgs.hello ]; ensureDirs = [ { path = pkgs.hello; dir = "x"; uid = "0"; } ]; }' "argument ensureDirs: uid of buildLayer must be a number, without quotes, not a string"
for function in buildImage $layered $single makeContainerImage; do
  throws "$function { name = \"x\"; created = 1700000000; }" "argument created of $function must be a time in quotes, like \"2024-01-01\" or \"@1700000000\", not 1700000000"
done
throws 'buildImage { name = "x"; labels.revision = 12; }' "argument labels: revision of buildImage must be a string, not 12"
throws 'buildImage { name = "x"; annotations.a = null; }' "argument annotations: a of buildImage must be a string, not null"
# Packages and lists of them.
throws 'makeContainerImage { layers = pkgs.hello; }' "argument layers of makeContainerImage must be a list, not a package; write layers = [ … ]"
throws 'buildLayer { deps = pkgs.hello; }' "argument deps of buildLayer must be a list, not a package; write deps = [ … ]"
throws 'buildLayer { deps = [ [ null ] ]; }' "argument deps of buildLayer has an element that is null; leave it out, as lib.optional does"
throws 'buildLayer { deps = [ "hello" ]; }' "argument deps of buildLayer has an element that is the string \"hello\", which no sandbox has; write a package, or a path without quotes"
throws 'buildLayer { copyToRoot = 3; }' "argument copyToRoot of buildLayer is 3, not a package or a path"
throws 'buildLayer { copyToRoot = [ pkgs.hello (x: x) ]; }' "argument copyToRoot of buildLayer has an element that is a function; call it"
throws "$layered { name = \"x\"; contents = [ pkgs.hello null ]; }" "argument contents of $layered has an element that is null"
throws "$single { name = \"x\"; copyToRoot = [ { } ]; }" "argument copyToRoot of $single has an element that is an attribute set, not a package or a path"
throws 'makeContainerImage { layers = [ "/etc" ]; }' 'argument layers of makeContainerImage has an element that is the string "/etc", which no sandbox has'
throws 'buildImage { name = "x"; layers = buildLayer { }; }' "argument layers of buildImage must be a list, not a package"
throws 'buildImage { name = "x"; layers = [ pkgs.hello ]; }' "takes results of buildLayer and ociLayerTar; put packages in deps"
throws 'buildImage { name = "x"; layers = [ buildLayer { } ]; }' "argument layers of buildImage has a function; put parentheses around each call: [ (function { … }) ]"
throws 'ociImageLayout { manifests = [ ociImageManifest { layers = [ ]; } ]; }' "argument manifests of ociImageLayout has a function; put parentheses around each call"
throws 'buildImage { name = "x"; contents = pkgs.hello; copyToRoot = pkgs.hello; }' "both copyToRoot and contents"
# Arguments that need the bytes of the layers.
throws '(dockerTools.exportImage { fromImage = pkgs.hello; }).detached' "a result of dockerTools.exportImage holds the bytes of its layers, and cannot be detached"
throws '(dockerTools.mergeImages [ pkgs.hello ]).detached' "a result of dockerTools.mergeImages holds the bytes of its layers, and cannot be detached"
# Packages for darwin (nix2container#173, devenv#430).
mac='(pkgs.hello // { system = "aarch64-darwin"; stdenv.hostPlatform.isLinux = false; })'
for mistake in "buildLayer { deps = [ $mac ]; }" "buildImage { name = \"x\"; copyToRoot = $mac; }" "buildImage { name = \"x\"; config.Cmd = [ $mac ]; }" \
  "makeContainerImage { layers = [ $mac ]; }" "$layered { name = \"x\"; contents = [ $mac ]; }" "$single { name = \"x\"; copyToRoot = $mac; }" \
  "$layered { name = \"x\"; config.Env = [ { a = $mac; } ]; }" "ociLayerTar { files = [ { source = $mac; destination = \"/\"; } ]; }" \
  "ociImageConfig { extraConfig.config.Cmd = [ $mac ]; }" "ociImageManifest { extraConfig.config.Cmd = [ $mac ]; }"; do
  throws "$mistake" "for aarch64-darwin, which no Linux container can run; take it from a Linux package set, such as pkgs.pkgsLinux"
done
# The system of a raw derivation is its own, whatever its name is.
for name in util-linux-2 linux-headers hello-linux; do
  throws "buildLayer { deps = [ (derivation { name = \"$name\"; system = \"aarch64-darwin\"; builder = \"x\"; }) ]; }" \
    "has an element that is $name for aarch64-darwin, which no Linux container can run"
done
throws 'buildLayer { deps = [ (pkgs.hello // { stdenv.hostPlatform.system = "x86_64-darwin"; }) ]; }' "for x86_64-darwin, which no Linux container can run"
# Arguments without effect.
throws 'buildImage { name = "x"; nixUid = 1000; }' "argument nixUid of buildImage has no effect without initializeNixDatabase = true; give both or none"
throws 'buildImage { name = "x"; nixGid = 1000; }' "argument nixGid of buildImage has no effect without initializeNixDatabase = true"
throws 'buildImage { name = "x"; nixUid = "1000"; }' "argument nixUid of buildImage must be a number, without quotes, not a string"
throws 'nix2container.buildImage { name = "x"; nixUid = "1000"; }' "argument nixUid of buildImage must be a number, without quotes, not a string"
throws 'buildImage { name = "x"; fromImageTag = "1"; }' "argument fromImageTag of buildImage has no effect without fromImage"
throws 'buildImage { name = "x"; fromImageName = "a"; }' "argument fromImageName of buildImage has no effect without fromImage"
for function in 'buildImage { name = "x";' 'buildLayer {'; do
  throws "$function enableFakechroot = true; }" "argument enableFakechroot of ${function%% *} has no effect without fakeRootCommands"
done
throws 'buildLayer { compressed = "gzip"; compressor = "zstd"; }' "buildLayer has both compressed and compressor"
throws 'buildLayer { compressor = "xz"; }' "argument compressed of buildLayer must be null, gzip, zstd, zstd:chunked, not xz"
# Entries.
throws 'buildLayer { perms = [ { path = pkgs.hello; regex = ".*"; mod = "0644"; } ]; }' "argument perms of buildLayer has no attribute mod; did you mean mode? It has gid, gname, mode,"
throws 'buildLayer { fromTar = [ { path = pkgs.hello; } ]; }' "argument fromTar of buildLayer has an element without tar"
throws 'buildLayer { fromTar = [ { path = pkgs.hello; tar = "x.tar"; } ]; }' 'argument fromTar: tar of buildLayer is the string "x.tar", which no sandbox has'
throws 'buildLayer { ensureDirs = [ { path = pkgs.hello; dir = "x"; owner = 1; } ]; }' "argument ensureDirs of buildLayer has no attribute owner; it has"
throws 'buildImage { name = "x"; perms = [ "0644" ]; }' "argument perms of buildImage has a string where { gid; gname; mode; path; regex; uid; uname; } belongs"
throws 'ociLayerTar { files = [ { source = pkgs.hello; destination = "etc"; } ]; }' 'argument files of ociLayerTar has the relative destination "etc"; write "/etc"'
throws 'ociLayerTar { files = [ { source = "/etc/passwd"; destination = "/etc/passwd"; } ]; }' 'argument files: source of ociLayerTar is the string "/etc/passwd", which no sandbox has; write a package, or a path without quotes'
throws 'ociLayerTar { files = [ { source = pkgs.hello; dest = "/"; } ]; }' "argument files of ociLayerTar has no attribute dest; it has destination, gid,"
throws 'ociLayerTar { files = [ { destination = "/"; } ]; }' "argument files of ociLayerTar is a list of { source; destination; }; one of its elements has no source"
# Numbers of layers, and arguments that exclude each other.
throws 'buildImage { name = "x"; maxLayers = 0; }' "argument maxLayers of buildImage must be a number, 1 or more, not 0"
throws 'buildLayer { maxLayers = "3"; }' "argument maxLayers of buildLayer must be a number, 1 or more, not a string"
throws 'makeContainerImage { maxLayers = 1; }' "argument maxLayers of makeContainerImage must be a number, 2 or more, not 1"
throws 'buildLayer { layering = "best"; }' "argument layering of buildLayer must be auto, popularity, transfer or a layeringPipeline, not best"
throws 'buildLayer { layering = { strategy = "transfer"; separateStart = true; }; }' "argument layering of buildLayer: separateStart is for functions with a configuration"
throws 'buildImage { name = "x"; layering = { strategy = "auto"; separateStart = true; }; }' 'argument layering of buildImage: separateStart is for the strategy "transfer"'
throws 'buildImage { name = "x"; layering = { strategy = "transfer"; separatestart = true; }; }' "argument layering of buildImage has no attribute separatestart; did you mean separateStart?"
throws 'buildImage { name = "x"; layering.separateStart = true; }' "argument layering of buildImage has no strategy"
throws 'makeContainerImage { layering = { strategy = "transfer"; separateStart = 1; }; }' "argument layering: separateStart of makeContainerImage must be true or false"
throws 'pullImageFromManifest { imageName = "x"; }' "needs the argument imageManifest; its getManifest prints one"

# Packages may be functors, configurations null, and paths for the closure of the image parts of a package.
same "$(nix-instantiate --eval --expr "$(expression '
  (buildLayer { deps = [ "${pkgs.hello}/bin/hello" ]; }).drvPath == (buildLayer { deps = [ "${pkgs.hello}" ]; }).drvPath
  && (buildLayer { deps = [ pkgs.hello ]; ignore = [ pkgs.bash ]; }).drvPath == (buildLayer { deps = [ pkgs.hello ]; ignore = pkgs.bash; }).drvPath
  && (buildImage { name = "x"; layering = { strategy = "transfer"; separateStart = false; }; }).drvPath == (buildImage { name = "x"; }).drvPath
  && (buildImage { name = "x"; config = null; }).drvPath == (buildImage { name = "x"; }).drvPath
  && (buildImage { name = "x"; fromImage = pkgs.hello // { __functor = _: throw "called"; }; }).drvPath == (buildImage { name = "x"; fromImage = pkgs.hello; }).drvPath
  && (makeContainerImage { contents = null; copyToRoot = null; layers = [ pkgs.hello ]; }).drvPath == (makeContainerImage { layers = [ pkgs.hello ]; }).drvPath')")" true
# The arguments of functions can be queried. lib.makeOverridable makes functors of three functions of dockerTools,
# upstream and here.
takes() { nix-instantiate --eval --strict --json --expr "$(expression "$1")"; }
takes 'builtins.mapAttrs (_: builtins.functionArgs) (builtins.removeAttrs strata [ "dockerTools" "lockedImage" "m" "nix2container" "overrideScope" "platform" ])' >"$work/takes"
takes 'builtins.mapAttrs (_: builtins.functionArgs) { inherit (dockerTools) buildNixShellImage exportImage streamNixShellImage; }
  // builtins.mapAttrs (_: function: function.__functionArgs) { inherit (dockerTools) buildImage buildLayeredImage streamLayeredImage; }' >"$work/dockertools"
# documented HEADING: prints the table below it in docs/reference.md in the form of builtins.functionArgs.
documented() {
  awk -v heading="$1" '
    /^##+ / { level = index($0, " "); if (on && level <= on) exit }
    $0 == heading { on = level }
    on && /^\| `/ { split($0, cells, "|"); gsub("[` ]", "", cells[2]); gsub(" ", "", cells[4]); print cells[2], cells[4] }' "$root/docs/reference.md" |
    jq -cSnR '[inputs | split(" ") | {(.[0]): (.[1] != "required")}] | add'
}
(($(jq length "$work/takes") == 16)) || fail "these are not all public functions: $(jq -c keys "$work/takes")"
for name in $(jq -r 'keys[]' "$work/takes"); do same "$(jq -cS ".$name" "$work/takes")" "$(documented "## $name")"; done
same "$(takes 'builtins.mapAttrs (_: builtins.functionArgs) nix2container.nix2container' | jq -cS)" "$(jq -cS '{ buildImage, buildLayer, pullImage, pullImageFromManifest }' "$work/takes")"
for name in exportImage 'streamNixShellImage and buildNixShellImage'; do
  same "$(jq -cS ".${name%% *}" "$work/dockertools")" "$(documented "### Arguments of $name")"
done
images=$(documented "### Arguments of the functions that make images")
same "$(jq -cS .buildLayeredImage "$work/dockertools")" "$(jq -c 'del(.runAsRoot)' <<<"$images")"
same "$(jq -cS .streamLayeredImage "$work/dockertools")" "$(jq -c 'del(.runAsRoot, .compressor)' <<<"$images")"
same "$(jq -cS '.buildLayeredImage + .buildImage + { layered: true, layers: true, name: true }' "$work/dockertools")" "$(jq -cS .makeContainerImage "$work/takes")"
# A missing required argument is named.
required=$(
  jq -r --slurpfile dockertools "$work/dockertools" '. + ($dockertools[0] | with_entries(.key |= "dockerTools." + .)) | to_entries[]
    | .key as $function | [.value | to_entries[] | select(.value | not).key] as $needed | $needed[]
    | "\($function){\($needed - [.] | map(. + "=null;") | add // "")} \(.)"' "$work/takes"
)
while read -r function argument; do throws "$function" "called without required argument '$argument'"; done <<<"$required"

for ((at = 0; at < ${#mistakes[@]}; at += 2)); do
  if nix-instantiate --eval --expr "$(expression "(${mistakes[at]}).drvPath")" >"$work/out" 2>"$work/log"; then fail "this should throw: ${mistakes[at]}"; fi
  grep -qF -- "${mistakes[at + 1]}" "$work/log" || { cat "$work/log" >&2; fail "the message of ${mistakes[at]} lacks: ${mistakes[at + 1]}"; }
done

# A value of another type than the documented one throws, for every argument of every function. Errors of Nix itself would end
# the evaluation.
heading_of() {
  case $1 in
    dockerTools.exportImage) echo "### Arguments of exportImage" ;;
    dockerTools.*NixShell*) echo "### Arguments of streamNixShellImage and buildNixShellImage" ;;
    dockerTools.*) echo "### Arguments of the functions that make images" ;;
    *) echo "## $1" ;;
  esac
}
typed() {
  awk -v heading="$(heading_of "$1")" '
    /^##+ / { level = index($0, " "); if (on && level <= on) exit }
    $0 == heading { on = level }
    on && /^\| `/ { split($0, cells, "|"); gsub("[` ]", "", cells[2]); print cells[2] "\t" cells[3] }' "$root/docs/reference.md"
}
{
  echo 'let
    given = {
      name = "x"; images.a = buildImage { name = "x"; }; image = pkgs.hello; budget = ./x; builder = ""; entrypoint = "";
      packages = [ pkgs ]; imageName = "x"; imageDigest = "sha256:0"; sha256 = "0000000000000000000000000000000000000000000000000000";
      file = ./x; fromImage = pkgs.hello; drv = pkgs.hello;
    };
    required = function: let needs = function.__functionArgs or (builtins.functionArgs function); in
      builtins.intersectAttrs (builtins.removeAttrs needs (builtins.filter (name: needs.${name}) (builtins.attrNames needs))) given;
    # lockedImage is a function of its file, too.
    others = name: function: if name == "lockedImage" then { inherit (given) file; } else required function;
    wrong = name: function: argument: value: {
      call = "${name}: ${argument}";
      accepted = (builtins.tryEval (
        let result = function (others name function // { ${argument} = value; }); in builtins.seq (result.meta or null) result.drvPath
      )).success;
    };
  in ['
  for function in $(jq -r 'keys[]' "$work/takes") lockedImage dockerTools.{buildImage,buildLayeredImage,streamLayeredImage,exportImage,streamNixShellImage}; do
    while IFS=$'\t' read -r argument type; do
      # Taken from anywhere, or from the arguments of another function.
      [[ $type != *function* && $type != *derivation* && $type != *"package sets"* && "$function $argument" != "dockerTools.build"*" runAsRoot" ]] || continue
      value=3
      [[ $type != *integer* ]] || value='"3"'
      echo "(wrong \"$function\" $function \"$argument\" $value)"
    done < <(typed "$function")
  done
  echo ']'
} >"$work/wrong.nix"
nix-instantiate --eval --strict --json --expr "$(expression "$(<"$work/wrong.nix")")" >"$work/wrong" 2>"$work/log" || { cat "$work/log" >&2; fail "an error of Nix for a wrong type"; }
(($(jq length "$work/wrong") > 200)) || fail "only $(jq length "$work/wrong") arguments"
same "$(jq -c '[.[] | select(.accepted).call]' "$work/wrong")" "[]"

# Nested lists are flattened, since nixpkgs' idioms produce them.
same "$(nix-instantiate --eval --expr "$(expression '
  (buildLayer { deps = [ [ pkgs.hello ] [ ] ]; }).drvPath == (buildLayer { deps = [ pkgs.hello ]; }).drvPath
  && (makeContainerImage { layers = [ [ pkgs.hello [ pkgs.bash ] ] ]; }).drvPath == (makeContainerImage { layers = [ pkgs.hello pkgs.bash ]; }).drvPath')")" true

# Files that a darwin machine downloads, and cross-compiled packages, are not darwin packages.
same "$(nix-instantiate --eval --expr "$(expression '
  map (package: (buildLayer { deps = [ (pkgs.hello // { system = "aarch64-darwin"; } // package) ]; }) ? drvPath)
    [ { outputHash = "x"; } { stdenv.hostPlatform.isLinux = true; } { name = "hello-aarch64-unknown-linux-gnu-2.12"; } ] == [ true true true ]')")" true

# Mistakes that only the build detects.
build_fails 'buildImage { name = "x"; config.Cmd = [ "${pkgs.runCommand "mac" { } "mkdir -p $out/bin; printf \"\\317\\372\\355\\376x\" >$out/bin/mac"}/bin/mac" ]; }' \
  "argument config: /nix/store/" "-mac/bin/mac is a program for darwin, which no Linux container can run"
# Evaluation does not know the system of a package in a string. The programs of packages are looked at, through links, scripts
# and archives; a package that only distributes such a program is accepted.
mac='(pkgs.runCommand "mac" { } "mkdir -p $out/bin; printf \"\\317\\372\\355\\376x\" >$out/bin/mac")'
archive="(pkgs.runCommand \"mac.tar\" { } \"\${pkgs.busybox}/bin/tar -cf \$out -C \${$mac} bin\")"
link="(pkgs.runCommand \"link\" { } \"mkdir -p \$out/sbin; ln -s \${$mac}/bin/mac \$out/sbin/x\")"
script="(pkgs.runCommand \"script\" { } \"mkdir -p \$out/bin; echo '#!\${$mac}/bin/mac -e' >\$out/bin/x\")"
for mistake in "buildLayer { deps = [ \"\${$mac}\" ]; }" "buildLayer { deps = [ \"\${$mac}/bin/mac\" ]; }" "buildImage { name = \"x\"; copyToRoot = \"\${$link}\"; }" \
  "buildImage { name = \"x\"; copyToRoot = \"\${$script}\"; }" "makeContainerImage { layers = [ \"\${$mac}\" ]; }" "$single { name = \"x\"; copyToRoot = \"\${$mac}\"; }" \
  "buildImage { name = \"x\"; extraCommands = \"mkdir bin; ln -s \${$mac}/bin/mac bin/x\"; }" "$layered { name = \"x\"; extraCommands = \"mkdir bin; cp \${$mac}/bin/mac bin/x\"; }" \
  "buildLayer { deps = [ pkgs.hello ]; fromTar = [ { path = pkgs.hello; tar = \"\${$archive}\"; } ]; }" \
  "buildImage { name = \"x\"; config.Cmd = [ \"\${$script}/bin/x\" ]; }" \
  "ociLayerTar { files = [ { source = \"\${$mac}/bin/mac\"; destination = \"/bin/mac\"; } ]; }" "ociLayerTar { files = [ { source = \"\${$mac}\"; destination = \"/\"; } ]; }"; do
  build_fails "$mistake" "is a program for darwin, which no Linux container can run; take it from a Linux package set"
done
build "buildImage { name = \"x\"; copyToRoot = pkgs.runCommand \"downloads\" { } \"mkdir -p \$out/downloads; cp \${$mac}/bin/mac \$out/downloads\"; }" >/dev/null
build_fails 'makeContainerImage { layers = [ (pkgs.writeText "x" "y") ]; }' "-x is a file; only directories can be linked"
build_fails 'buildImage { name = "x"; config.Entrypiont = [ "/x" ]; }' "config.Entrypiont is unknown"
build_fails 'buildImage { name = "x"; config.Env.PATH = "/bin"; }' "config.Env must be a list, not an attribute set"
build_fails 'buildImage { name = "x"; created = "yesterday"; }' 'argument created is wrong: "yesterday" is not a time; write it like'
build_fails 'buildImage { name = "x"; copyToRoot = [ (pkgs.writeTextDir "a" "1") (pkgs.writeTextDir "a" "2") ]; }' \
  "two sources want /a in the image" "their contents differ" "pathsToLink"
build_fails 'buildLayer { deps = [ pkgs.hello ]; maxLayers = 2; layering = "popularity"; weights.roots = 2; }' 'argument weights is for layering = "transfer"'
