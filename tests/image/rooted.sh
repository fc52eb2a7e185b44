# The links of a base image stay in the image, and its file capabilities are kept. xattrs.sh tests those of scripts.
. "$root/tests/lib.sh"
need_command python3

# A base whose /nix, /proc and /dev lead outside, and a program with capabilities.
python3 - "$work/base.tar" "$work/outside" <<'PYTHON'
import hashlib, io, json, sys, tarfile
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
    def add(name, kind=tarfile.REGTYPE, data=b"", link="", mode=0o755, pax={}):
        entry = tarfile.TarInfo(name)
        entry.type, entry.size, entry.linkname, entry.mode, entry.pax_headers = kind, len(data), link, mode, pax
        tar.addfile(entry, io.BytesIO(data))
    # cap_net_raw=ep, in the format of Linux. All bytes are below 0x80, for tarfile.
    capabilities = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".decode()
    add("bin", tarfile.DIRTYPE)
    for name in ("ping", "touched", "written"):
        add(f"bin/{name}", data=b"program", pax={"SCHILY.xattr.security.capability": capabilities})
    for name, target in (("nix", sys.argv[2]), ("proc", "/../../outside"), ("dev", "var/dev")):
        add(name, tarfile.SYMTYPE, link=target, mode=0o777)
tar = layer.getvalue()
config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]}}).encode()
with tarfile.open(sys.argv[1], "w") as archive:
    for name, data in (("layer.tar", tar), ("config.json", config), ("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["base:t"], "Layers": ["layer.tar"]}]).encode())):
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
PYTHON
# listing TAR: lists each entry, and whether it has capabilities.
listing() {
  python3 - "$1" <<'PYTHON'
import sys, tarfile
for entry in tarfile.open(sys.argv[1]):
    print(entry.name.removeprefix("./").strip("/") or "/", "capabilities" if "SCHILY.xattr.security.capability" in entry.pax_headers else "")
PYTHON
}
# list_top_layer IMAGE: lists its highest layer.
list_top_layer() {
  "$strata" copy "$1" "oci:$work/layout" --quiet >/dev/null
  listing "$work/layout/blobs/sha256/$("$strata" inspect "$1" --json | jq -r '.[0].layers[-1].digest | ltrimstr("sha256:")')"
}
check_listed() { grep -qxF -- "$2" <<<"$1" || { echo "$1"; fail "missing: $2"; }; }

exported=$(listing "$(build "dockerTools.exportImage { fromImage = $work/base.tar; }")")
for name in ping touched written; do check_listed "$exported" "bin/$name capabilities"; done
check_listed "$exported" "bin "

# Changes of a script are in a separate layer. As on Linux, writing to a program removes its capabilities.
made=$(build "dockerTools.buildImage { name = \"x\"; tag = \"t\"; compressor = \"none\"; fromImage = $work/base.tar;
  runAsRoot = ''chmod 700 /bin/touched; echo >>/bin/written; echo made >/made''; }")
layer=$(list_top_layer "$made")
check_listed "$layer" "bin/touched capabilities"
check_listed "$layer" "bin/written "
check_listed "$layer" "made "
if grep -q '^bin/ping' <<<"$layer"; then fail "an unchanged file is in the layer again"; fi
# Mounts leave no files, neither on the machine nor in the image.
if grep -qE 'outside|var|strata' <<<"$layer"; then echo "$layer"; fail "mounts left something"; fi
[[ ! -e $work/outside ]] || fail "a mount was made outside of the image"

# The Nix database is in the image, at the target of the base's /nix.
made=$(build "dockerTools.buildImageWithNixDb { name = \"x\"; tag = \"t\"; compressor = \"none\"; fromImage = $work/base.tar; copyToRoot = [ pkgs.hello ]; runAsRoot = \"true\"; }")
check_listed "$(list_top_layer "$made")" "${work#/}/outside/var/nix/db/db.sqlite "
[[ ! -e $work/outside ]] || fail "a database was written outside of the image"
