# extraCommands and fakeRootCommands of buildImage and buildLayer: a separate layer (nix2container issue 134).
. "$root/tests/lib.sh"
need_command jq
[[ ${docker-} ]] || skip "no docker daemon"

scripts='extraCommands = "mkdir -m 1777 tmp; mkdir -p home/app; ln -s ${pkgs.hello}/bin/hello greet";
  fakeRootCommands = "chown 1000:1000 home/app; cp ${pkgs.busybox}/bin/busybox home/app/nc; setcap cap_net_raw=ep home/app/nc";'
# listing IMAGE NUMBER: lists mode, owner and name of a layer's files.
listing() {
  rm -rf "$work/layout"
  "$strata" copy "$1" "oci:$work/layout" --quiet >/dev/null
  tar -tvP --numeric-owner -f "$work/layout/blobs/sha256/$(jq -r ".layers[$2].digest | ltrimstr(\"sha256:\")" "$1")" | awk '{ print $1, $2, $6, $7, $8 }' | sed 's/ *$//'
}
image=$(build "buildImage { name = \"scripted\"; tag = \"t\"; $scripts copyToRoot = [ pkgs.busybox ]; config.Cmd = [ \"/greet\" ]; }")
# The files are in a layer, and store paths in them are in the image.
at=$(jq -r '[.layers[] | has("layer-path")] | index(true)' "$image")
listing "$image" "$at" >"$work/listing"
for line in 'drwxrwxrwt 0/0 /tmp' 'drwxr-xr-x 1000/1000 /home/app' '-r-xr-xr-x 0/0 /home/app/nc'; do
  grep -qxF -- "$line" "$work/listing" || { cat "$work/listing"; fail "the layer lacks: $line"; }
done
"$strata" verify "$image" | grep -q ' 0 problems$' || fail "verify"
name=$("$strata" stream "$image" | load)
same "$(run "$name")" "Hello, world!"
same "$(run --entrypoint /bin/stat "$name" -c '%a %u' /tmp /home/app)" $'1777 0\n755 1000'
docker rmi "$name" >/dev/null

# Another script changes no other layer.
other=$(build "buildImage { name = \"scripted\"; tag = \"t\"; ${scripts/1777 tmp/1777 tmp other} copyToRoot = [ pkgs.busybox ]; config.Cmd = [ \"/greet\" ]; }")
same "$(jq -c "[.layers[].digest] | del(.[$at])" "$other")" "$(jq -c "[.layers[].digest] | del(.[$at])" "$image")"
[[ $(jq -r ".layers[$at].digest" "$other") != "$(jq -r ".layers[$at].digest" "$image")" ]] || fail "the script changes nothing"

# In a layer of buildLayer, with nix2container's functions too, and in a chroot.
for functions in strata strata.nix2container; do
  same "$(jq '[.layers[] | select(has("layer-path"))] | length' "$(build "with $functions; buildImage { name = \"x\"; layers = [ (buildLayer { deps = [ pkgs.hello ]; $scripts }) ]; }")")" 1
done
chroot=$(build 'buildImage { name = "x"; fakeRootCommands = "mkdir -p /etc; echo in >/etc/file; chown 7:8 /etc/file"; enableFakechroot = true; }')
grep -qxF -- '-rw-r--r-- 7/8 /etc/file' <<<"$(listing "$chroot" 0)" || { listing "$chroot" 0; fail "the file of a chroot"; }
# A base's links to directories stay.
base=$(build 'dockerTools.buildImage { name = "base"; tag = "t"; extraCommands = "mkdir -p usr/bin; ln -s usr/bin bin"; }')
on_base=$(build "buildImage { name = \"x\"; fromImage = $base; extraCommands = \"mkdir bin; echo x > bin/tool\"; }")
grep -q ' /usr/bin/tool$' <<<"$(listing "$on_base" -1)" || { listing "$on_base" -1; fail "bin/tool is not where /bin leads"; }
build_fails 'buildImage { name = "x"; extraCommands = "false"; }' "line 1 of extraCommands failed"
build_fails 'buildImage { name = "x"; extraCommands = 1; }' "argument extraCommands"

# The options of the function apply to the layers of its scripts.
greets='extraCommands = "ln -s ${pkgs.hello}/bin/hello greet";'
# names_of IMAGE: prints the names of the store paths of each layer.
names_of() { jq -c '.layers | map([.paths[].path | .[44:]])' "$1"; }
same "$(names_of "$(build "buildImage { name = \"x\"; includeStorePaths = false; $greets }")")" '[["x-customisation"]]'
same "$(names_of "$(build "buildImage { name = \"x\"; maxLayers = 1; $greets }")" | jq length)" 1
many=$(names_of "$(build "buildImage { name = \"x\"; layering = \"transfer\"; $greets }")")
(($(jq length <<<"$many") > 1)) || fail "layering = transfer makes one layer: $many"
# Store paths of `layers` are not repeated.
held=$(names_of "$(build "buildImage { name = \"x\"; layers = [ (buildLayer { deps = [ pkgs.hello ]; }) ]; $greets }")")
same "$(jq -c 'add | group_by(.) | map(select(length > 1))' <<<"$held")" '[]'
same "$(jq -c '.[-1]' <<<"$held")" '["x-customisation"]'
# `previous` keeps the layers of an older image.
older=$(build "buildImage { name = \"x\"; maxLayers = 3; $greets }")
same "$(names_of "$(build "buildImage { name = \"x\"; maxLayers = 64; previous = $older; $greets }")")" "$(names_of "$older")"
same "$(jq -c '[.layers[] | .compressed | keys[]] | unique' "$(build "buildImage { name = \"x\"; compressed = \"zstd\"; $greets }")")" '["zstd"]'

# layer_of ARGUMENTS: prints the layers of buildLayer with the script.
layer_of() { build "buildImage { name = \"x\"; layers = [ (buildLayer { $greets $1 }) ]; }"; }
same "$(jq '[.layers[] | select(has("layer-path") | not)] | length' "$(layer_of 'reproducible = false;')")" 0
same "$(jq -c '[.layers[] | .compressed | keys[]] | unique' "$(layer_of 'compressed = "gzip";')")" '["gzip"]'
same "$(names_of "$(layer_of 'ignore = pkgs.hello;')" | jq -c 'add | map(select(startswith("hello")))')" '[]'
same "$(jq -r '[.layers[].History.created_by] | unique[]' "$(layer_of 'metadata.created_by = "own words";')")" 'own words'
same "$(jq -r '[.layers[].History.created_by] | unique[]' "$(layer_of '')")" 'extraCommands and fakeRootCommands'
