# Extended attributes and capabilities that scripts set are in the image, whichever program sets them. Otherwise the
# build fails and names the file.
. "$root/tests/lib.sh"
need_command python3
need_command jq
[[ ${docker-} ]] || skip "no docker daemon"

# A base whose bin/ping has capabilities, an owner and a mode.
python3 - "$work/base.tar" <<'PYTHON'
import hashlib, io, json, sys, tarfile
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
    entry = tarfile.TarInfo("bin")
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(entry)
    for name in ("ping", "given", "again", "moved"):
        entry = tarfile.TarInfo(f"bin/{name}")
        entry.size, entry.mode, entry.uid, entry.gid = 7, 0o755, 33, 34
        # cap_net_raw=ep
        entry.pax_headers = {"SCHILY.xattr.security.capability": b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".decode(), "SCHILY.xattr.user.base": "x"}
        tar.addfile(entry, io.BytesIO(b"program"))
tar = layer.getvalue()
config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]}}).encode()
with tarfile.open(sys.argv[1], "w") as archive:
    for name, data in (("layer.tar", tar), ("config.json", config), ("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["base:t"], "Layers": ["layer.tar"]}]).encode())):
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
PYTHON

# listing IMAGE: lists each entry with extended attributes in its highest layer: name, owner, and the attributes.
listing() {
  rm -rf "$work/layout"
  "$strata" copy "$1" "oci:$work/layout" --quiet >/dev/null
  python3 - "$work/layout/blobs/sha256/$("$strata" inspect "$1" --json | jq -r '.[0].layers[-1].digest | ltrimstr("sha256:")')" <<'PYTHON'
import sys, tarfile
for entry in tarfile.open(sys.argv[1]):
    xattrs = {key.removeprefix("SCHILY.xattr."): value for key, value in entry.pax_headers.items() if "xattr" in key}
    if "security.capability" in xattrs:
        xattrs["security.capability"] = xattrs["security.capability"].encode("utf-8", "surrogateescape").hex()[8:16]
    if xattrs:
        print(entry.name.removeprefix("./").strip("/"), f"{entry.uid}:{entry.gid}", *(f"{key}={value}" for key, value in sorted(xattrs.items())))
PYTHON
}
raw=00200000 bind=00040000

# All ways to set them, in each kind of script. The owners of the files stay.
ways='
  mkdir -p bin dir; for name in cap fattr python tar given; do echo $name >bin/$name; done
  setcap cap_net_raw=ep bin/cap; ${pkgs.libcap}/bin/setcap cap_net_bind_service=ep bin/given
  chown 1000:1000 bin/given
  setfattr -n user.a -v b bin/fattr; setfattr -n user.empty -v "" dir
  ln -s cap bin/link; setfattr --no-dereference -n trusted.l -v 1 bin/link
  ${pkgs.python3}/bin/python3 -c "import os; os.setxattr(\"bin/python\", \"user.p\", b\"line\\n=\")"
  cp -a bin/cap bin/copied; cp bin/cap bin/plain; mv bin/cap bin/raw
  tar --xattrs --xattrs-include="*" -cf t.tar bin/raw; rm bin/tar; mkdir untar; tar --xattrs --xattrs-include="*" -xf t.tar -C untar
  setfattr -n user.gone -v 1 bin/plain; setfattr -x user.gone bin/plain; rm t.tar'
expected="bin/copied 0:0 security.capability=$raw
bin/fattr 0:0 user.a=b
bin/given 1000:1000 security.capability=$bind
bin/link 0:0 trusted.l=1
bin/python 0:0 user.p=line
=
bin/raw 0:0 security.capability=$raw
dir 0:0 user.empty=
untar/bin/raw 0:0 security.capability=$raw"
for image in "dockerTools.buildLayeredImage { fakeRootCommands = ''$ways''; " "dockerTools.buildLayeredImage { enableFakechroot = true; fakeRootCommands = ''$ways''; " \
  "makeContainerImage { fakeRootCommands = ''$ways''; " "dockerTools.buildImage { runAsRoot = ''$ways''; "; do
  same "$(listing "$(build "$image name = \"x\"; tag = \"t\"; compressor = \"none\"; }")")" "$expected"
done

# Containers of an engine have them.
name=$(build 'dockerTools.buildLayeredImage { name = "x"; contents = [ pkgs.libcap pkgs.busybox ]; fakeRootCommands = "cp ${pkgs.busybox}/bin/busybox nc; setcap cap_net_raw=ep nc"; }' |
  xargs cat | load)
same "$(run --entrypoint /bin/getcap "$name" /nc)" "/nc cap_net_raw=ep"
docker rmi "$name" >/dev/null

# Attributes of a base image: copies and moved files keep them. As on Linux, a program that is written to or gets
# another owner loses its capabilities unless they are set again. fakeroot keeps the other attributes of the base.
made=$(build "dockerTools.buildImage { name = \"x\"; tag = \"t\"; compressor = \"none\"; fromImage = $work/base.tar; runAsRoot = ''
  cd /bin; cp -a ping copied; cp ping plain; chown 5:6 given; echo >>again; setcap cap_net_raw=ep again; mv moved away; cp -a again fresh; chmod 700 ping''; }")
same "$(listing "$made")" "bin/again 33:34 security.capability=$raw user.base=x
bin/away 33:34 security.capability=$raw user.base=x
bin/copied 33:34 security.capability=$raw user.base=x
bin/fresh 33:34 security.capability=$raw user.base=x
bin/given 5:6 user.base=x
bin/ping 33:34 security.capability=$raw user.base=x"

# Attributes that fakeroot does not keep are errors: values that it refuses, more attributes than it lists, and programs
# that it does not intercept (static ones, here one without its library). Scripts without fakeroot cannot set any.
build_fails 'dockerTools.buildLayeredImage { name = "x"; fakeRootCommands = "touch x; setfattr -n user.a -v 0x$(printf %08000d 0) x"; }' \
  "setfattr: x: Numerical result out of range" "line 1 of fakeRootCommands failed"
build_fails 'dockerTools.buildLayeredImage { name = "x"; fakeRootCommands = "touch many; for i in {1..400}; do setfattr -n user.a-long-name-$i -v 1 many; done"; }' \
  "/many: Numerical result out of range" "fakeroot cannot keep the extended attributes of the file above"
unseen='touch f; env -u LD_PRELOAD ${pkgs.attr}/bin/setfatt[r] -n user.a -v b f'
for image in "buildLayeredImage { fakeRootCommands" "buildLayeredImage { extraCommands" "buildImage { runAsRoot"; do
  build_fails "dockerTools.$image = ''$unseen''; name = \"x\"; }" "setfattr: f: Operation not supported"
done
build_fails 'dockerTools.buildLayeredImage { name = "x"; extraCommands = "touch f; ${pkgs.python3}/bin/python3 -c \"import os; os.setxattr(\\\"f\\\", \\\"user.a\\\", b\\\"b\\\")\""; }' \
  "line 1 of extraCommands failed"
for script in 'touch x; setcap cap_net_raw=ep x' 'touch x; setfattr -n user.a -v b x' '/opt/bin/setcap cap_net_raw=ep x'; do
  build_fails "dockerTools.buildLayeredImage { name = \"x\"; extraCommands = \"$script\"; }" \
    "cannot work in extraCommands, which runs without fakeroot" "in fakeRootCommands or runAsRoot"
done
# Without a sandbox, the file system accepts them.
if ((EUID == 0)); then
  for image in "buildLayeredImage { fakeRootCommands" "buildLayeredImage { extraCommands"; do
    if nix-build --no-out-link --option sandbox false --expr "$(expression "dockerTools.$image = ''$unseen''; name = \"x\"; }")" >"$work/out" 2>"$work/log"; then
      fail "an attribute that fakeroot has not seen is lost"
    fi
    grep -qF "/f has the extended attribute user.a, which fakeroot has not recorded" "$work/log" ||
      grep -qF "setfattr: f: Operation not supported" "$work/log" || { cat "$work/log"; fail "the message does not name the file"; }
  done
fi
