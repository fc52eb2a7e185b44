#!/usr/bin/env python3
"""attributes.py FILE: a docker archive, an image whose layers have what store paths lack: extended attributes, hard links, owners,
set-uid bits and parts of seconds in the first one, and a pipe, which partial pulls leave out, in the second."""
import hashlib
import io
import json
import sys
import tarfile



def add(name, kind=tarfile.REGTYPE, data=b"", **more):
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mtime = kind, len(data), 1_000_000_000
    for key, value in more.items():
        setattr(entry, key, value)
    tar.addfile(entry, io.BytesIO(data))


layers = [io.BytesIO(), io.BytesIO()]
with tarfile.open(fileobj=layers[0], mode="w", format=tarfile.PAX_FORMAT) as tar:
    # cap_net_raw=ep, as Linux stores it; no byte of it above 0x7f, for tarfile.
    capabilities = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".decode()
    add("etc", tarfile.DIRTYPE, mode=0o755)
    add("etc/ping", data=b"program" * 1000, mode=0o755, pax_headers={"SCHILY.xattr.security.capability": capabilities})
    add("etc/notes", data=b"notes\n", mode=0o640, uid=1000, gid=100,
        pax_headers={"SCHILY.xattr.user.note": "two\nlines of é", "mtime": "1234567890.123456789"})
    add("etc/another-name", tarfile.LNKTYPE, linkname="etc/ping", mode=0o755,
        pax_headers={"SCHILY.xattr.security.capability": capabilities})
    add("etc/su", data=b"su" * 5000, mode=0o4755, gid=42)
    add("etc/sticky", tarfile.DIRTYPE, mode=0o1777, uid=7, pax_headers={"SCHILY.xattr.user.of-directory": "1"})
    add("etc/empty", mode=0o600)
    add("etc/empty-too", tarfile.LNKTYPE, linkname="etc/empty", mode=0o600)
    add("etc/leads", tarfile.SYMTYPE, linkname="../etc/su", mode=0o777, uid=9)
with tarfile.open(fileobj=layers[1], mode="w", format=tarfile.PAX_FORMAT) as tar:
    add("etc", tarfile.DIRTYPE, mode=0o755)
    add("etc/pipe", tarfile.FIFOTYPE, mode=0o622)
diff_ids = [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}" for layer in layers]
config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}})
names = ["first.tar", "second.tar"]
manifest = json.dumps([{"Config": "config.json", "RepoTags": ["attributes:t"], "Layers": names}])
with tarfile.open(sys.argv[1], "w") as archive:
    files = [(name, layer.getvalue()) for name, layer in zip(names, layers)]
    for name, data in (*files, ("config.json", config.encode()), ("manifest.json", manifest.encode())):
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
