# Names with a special meaning for engines: whiteouts (podman issue 3582), and links in place of the store.
. "$root/tests/lib.sh"
need_command jq

hidden='(pkgs.runCommand "hidden" { } "mkdir -p $out/etc; echo x > $out/etc/.wh.passwd")'
files='(pkgs.runCommand "files" { } "mkdir -p $out/etc; echo x > $out/etc/file")'
says=("-hidden/etc/.wh.passwd" "begins with .wh.")
for image in "buildImage { name = \"x\"; copyToRoot = $hidden; }" "buildImage { name = \"x\"; config.Cmd = [ \"\${$hidden}\" ]; }" \
  "buildLayer { deps = [ $hidden ]; }" "buildLayer { copyToRoot = $hidden; }" \
  "ociLayerTar { files = [ { source = $hidden; destination = \"/\"; } ]; }" \
  "makeContainerImage { layers = [ $hidden ]; }" "makeContainerImage { layered = false; layers = [ $hidden ]; }" \
  "dockerTools.buildImage { name = \"x\"; copyToRoot = $hidden; }" "dockerTools.buildLayeredImage { name = \"x\"; contents = [ $hidden ]; }" \
  "dockerTools.buildImage { name = \"x\"; copyToRoot = $hidden; runAsRoot = \"true\"; }"; do
  build_fails "$image" "${says[@]}"
done
build_fails "ociLayerTar { files = [ { source = $files; destination = \"/a/.wh.b\"; } ]; }" "/a/.wh.b" "begins with .wh."
base=$(build "dockerTools.buildImage { name = \"base\"; tag = \"t\"; copyToRoot = $files; }")
for script in extraCommands:buildLayeredImage fakeRootCommands:buildLayeredImage extraCommands:buildImage runAsRoot:buildImage; do
  build_fails "dockerTools.${script#*:} { name = \"x\"; fromImage = $base; ${script%:*} = \"mkdir -p etc; touch etc/.wh.file\"; }" \
    "argument ${script%:*}: the script makes /etc/.wh.file" "begins with .wh." "use rm in runAsRoot"
done
# Whiteouts of deletions are not files of the user, also with further scripts above them.
path=$(build "dockerTools.buildImage { name = \"x\"; tag = \"t\"; compressor = \"none\"; fromImage = $base; runAsRoot = \"rm /etc/file\"; extraCommands = \"touch made\"; }")
tar -xOf "$path" "$(tar -xOf "$path" manifest.json | jq -r '.[0].Layers[-1]')" | tar -tP >"$work/listing"
grep -qxF /etc/.wh.file "$work/listing" || { cat "$work/listing"; fail "the deletion is not in the layer"; }
grep -qxF /made "$work/listing" || fail "made is not in the layer"

# verify reports layers of other tools.
python3 - "$work/foreign.tar" <<'PYTHON'
import hashlib, io, json, sys, tarfile
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar:
    for name, text in [("etc/.wh.gone", b""), ("etc/.wh.passwd", b"text")]:
        entry = tarfile.TarInfo(name)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
layer = layer.getvalue()
config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
with tarfile.open(sys.argv[1], "w") as tar:
    for name, text in [("config.json", config), ("layer.tar", layer),
            ("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["base:t"], "Layers": ["layer.tar"]}]).encode())]:
        entry = tarfile.TarInfo(name)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
PYTHON
if "$strata" verify "$work/foreign.tar" >"$work/log" 2>&1; then fail "verify took a file named as a whiteout"; fi
grep -q 'layer 1.*etc/.wh.passwd is not an empty file' "$work/log" || { cat "$work/log"; fail "verify's message"; }

# A link in place of the store: containers of the image could not start.
for target in nix nix/store; do
  linked="(pkgs.runCommand \"linked\" { } \"mkdir -p \$out/\$(dirname $target); ln -s /elsewhere \$out/$target\")"
  script="mkdir -p \$(dirname $target); ln -s /elsewhere $target"
  for image in "makeContainerImage { layers = [ $linked ]; }" "makeContainerImage { layered = false; layers = [ $linked ]; }" \
    "dockerTools.buildLayeredImage { name = \"x\"; contents = [ $linked ]; }" "dockerTools.buildImage { name = \"x\"; copyToRoot = $linked; }"; do
    build_fails "$image" "-linked/$target: it is a link in place of the directory /$target"
  done
  for argument in extraCommands fakeRootCommands; do
    build_fails "dockerTools.buildLayeredImage { name = \"x\"; $argument = \"$script\"; }" "argument $argument: the script makes /$target: it is a link"
  done
done
