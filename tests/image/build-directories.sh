# Builds have the same bytes on every file system of the build directory (with its inodes, time stamps and permissions),
# with any number of cores, umask, time zone and locale, with and without a sandbox, and with another Nix.
. "$root/tests/lib.sh"
need_command jq

cat >"$work/base.py" <<'PYTHON'
import hashlib, io, json, sys, tarfile
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
    def add(name, kind, mode, uid=0, data=b"", link="", **records):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.uid, entry.gid, entry.size, entry.linkname = kind, mode, uid, uid, len(data), link
        entry.pax_headers = records
        tar.addfile(entry, io.BytesIO(data))
    for directory in ["etc", "srv", "srv/again", "srv/again/deep", "srv/shared"]:
        add(directory, tarfile.DIRTYPE, 0o755)
    add("tmp", tarfile.DIRTYPE, 0o1777)
    for number in range(40):
        add(f"etc/{number}", tarfile.REGTYPE, 0o644, 0, b"a")
        add(f"srv/again/{number}", tarfile.REGTYPE, 0o4755 if number % 2 else 0o600, number, b"a")
    add("srv/again/deep/file", tarfile.REGTYPE, 0o644, 0, b"a")
    add("etc/ping", tarfile.REGTYPE, 0o755, 0, b"ping", **{"SCHILY.xattr.security.capability": "caps"})
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
python3 "$work/base.py" "$work/base.tar"

expr='let
  files = pkgs.runCommand "files" { } "mkdir -p $out/bin $out/etc; echo x > $out/bin/tool; chmod 755 $out/bin/tool; echo x > $out/etc/file";
  busybox = "${pkgs.busybox}/bin/busybox";
  # Files are written in place and replaced within a second, and files and directories reuse each other'"'"'s inodes.
  root = '"''"'
    for at in /etc/1*; do printf b >$at; done
    for at in /etc/2*; do printf a >$at; done
    rm /etc/30; printf a >/etc/30
    chmod 600 /etc/31; chown 7:8 /etc/32; ln -sf 1 /etc/33; rm /etc/34; mkdir /etc/34
    rm -rf /srv/again; mkdir /srv/again; echo new >/srv/again/2
    ${busybox} rm -r /tmp; ${busybox} mkdir /tmp /made
    ${busybox} sh -c "for at in 1 2 3 4 5 6 7 8; do echo >/made/\$at; done"
    mkdir -m 2775 /srv/shared/group; chmod 4711 /made/1; chmod 0 /made/2; mkfifo /made/pipe; mknod /made/null c 1 3
    umask 027; mkdir /made/private; echo >/made/private/file; umask 022
    date -d @0 >/made/date; stat -c %a / >/made/mode-of-root
  '"''"';
  plain = "mkdir -m 750 own; echo x > own/file; chmod 755 own/file; chmod 1777 own; mkdir shared; echo y > shared/file; date -d @0 > date";
  fake = "chown -R 12:34 own; touch able; setcap cap_net_raw=ep able; setfattr -n user.a -v b own; mknod null c 1 3; chmod 6711 own/file; echo z > new; chmod 400 new";
in [
  (dockerTools.buildImage { name = "root"; tag = "t"; compressor = "none"; fromImage = '"$work"'/base.tar; copyToRoot = [ files ]; runAsRoot = "true"; })
  (dockerTools.buildImage { name = "changed"; tag = "t"; compressor = "none"; fromImage = '"$work"'/base.tar; copyToRoot = [ files ]; runAsRoot = root; extraCommands = plain; })
  (dockerTools.buildLayeredImage { name = "layered"; tag = "t"; contents = [ files ]; extraCommands = plain; fakeRootCommands = fake; })
  (dockerTools.buildLayeredImage { name = "chroot"; tag = "t"; contents = [ files pkgs.bash ]; extraCommands = plain; fakeRootCommands = "cd /; ${fake}"; enableFakechroot = true; includeNixDB = true; })
  (makeContainerImage { layers = [ files ]; })
  (buildImage { name = "x"; copyToRoot = [ files ]; layers = [ (buildLayer { deps = [ pkgs.hello ]; reproducible = false; ensureDirs = [ { path = pkgs.hello; dir = "/more"; mode = "0700"; } ]; }) ]; })
  (ociLayerTar { files = [ { source = files; destination = "/opt"; } ]; })
]'
build "$expr" >"$work/built"
same "$(tar -xOf "$(sed -n 2p "$work/built")" "$(tar -xOf "$(sed -n 2p "$work/built")" manifest.json | jq -r '.[0].Layers[-1]')" | tar -xOP /made/mode-of-root)" 755

# All results are built again, and compared.
mapfile -t derivations < <(nix-instantiate --expr "$(expression "$expr")" 2>/dev/null | sed 's/!.*//' | xargs nix-store -qR |
  grep -E -- '-(customisation|recipe|base-image|layers\.json|[a-z]+\.tar(\.gz)?|image-x\.json|layer-tar)\.drv$')
((${#derivations[@]} >= 10)) || fail "too few derivations: ${derivations[*]}"
# again NAME COMMAND…: builds everything in the environment of COMMAND.
again() {
  "${@:2}" nix-store --realise --check "${derivations[@]}" >/dev/null 2>"$work/log" ||
    { grep -vE '^(building|checking)' "$work/log" | tail -n 20 >&2; fail "other bytes: $1"; }
}
directory() { mkdir -p "$work/$1"; echo "$work/$1"; }

again "one core" env NIX_CONFIG="$NIX_CONFIG"$'\ncores = 1'
again "two cores" env NIX_CONFIG="$NIX_CONFIG"$'\ncores = 2'
again "umask" bash -c 'umask 077; exec "$@"' umask
again "time zone and locale" env TZ=Pacific/Auckland LC_ALL=tr_TR.UTF-8 LANG=tr_TR.UTF-8
setgid=$(directory setgid)
chgrp 12 "$setgid" 2>/dev/null || true
chmod 2770 "$setgid"
again "set-group-ID" env TMPDIR="$setgid"
acl=$(directory acl)
if command -v setfacl >/dev/null && setfacl -d -m u::rwx,g::rwx,o::---,u:12345:rwx,m::rwx "$acl" 2>/dev/null; then
  again "default ACL" env TMPDIR="$acl"
  again "default ACL, no sandbox" env TMPDIR="$acl" NIX_CONFIG="$NIX_CONFIG"$'\nsandbox = false'
else
  skip_part "setfacl is missing, or the file system has no ACLs"
fi
again "no sandbox" env NIX_CONFIG="$NIX_CONFIG"$'\nsandbox = false'
again "no sandbox, set-group-ID, umask" env TMPDIR="$setgid" NIX_CONFIG="$NIX_CONFIG"$'\nsandbox = false' bash -c 'umask 007; exec "$@"' umask

# on FILE-SYSTEM MOUNT-ARGUMENTS…: builds on it, with and without a sandbox.
on() {
  local mounted
  mounted=$(directory "${1// /-}")
  if ! as_root mount "${@:2}" "$mounted" 2>"$work/log"; then
    skip_part "this machine mounts no $1: $(tail -n 1 "$work/log")"
    return
  fi
  as_root chown "$EUID" "$mounted"
  again "$1" env TMPDIR="$mounted"
  again "$1, no sandbox" env TMPDIR="$mounted" NIX_CONFIG="$NIX_CONFIG"$'\nsandbox = false'
  as_root umount "$mounted"
}
on tmpfs -t tmpfs tmpfs
for size in 128 256; do
  truncate -s 300M "$work/ext4-$size.img"
  if ! mkfs.ext4 -q -I "$size" -F "$work/ext4-$size.img" 2>"$work/log"; then
    skip_part "mkfs.ext4 makes no inodes of $size bytes: $(tail -n 1 "$work/log")"
    continue
  fi
  on "ext4 $size" -o loop "$work/ext4-$size.img"
done
layers=$(directory layers)
if as_root mount -t tmpfs tmpfs "$layers"; then
  as_root mkdir "$layers"/{lower,upper,work}
  on overlayfs -t overlay -o "lowerdir=$layers/lower,upperdir=$layers/upper,workdir=$layers/work" overlay
  as_root umount "$layers"
fi

if use_new_nix; then
  nix --version
  again "another Nix"
  again "another Nix, no sandbox" env NIX_CONFIG="$NIX_CONFIG"$'\nsandbox = false'
else
  skip_part "no other Nix can be had"
fi
