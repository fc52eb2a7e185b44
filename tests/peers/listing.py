#!/usr/bin/env python3
"""listing.py: what is in the tar on its standard input, a line for each file: type, name, mode, owner, device, where a
link leads, extended attributes, digest, time. The second name of an inode is a hard link."""
import hashlib
import sys
import tarfile

KINDS = {tarfile.REGTYPE: "file", tarfile.LNKTYPE: "hardlink", tarfile.SYMTYPE: "symlink", tarfile.DIRTYPE: "dir",
         tarfile.FIFOTYPE: "fifo", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block"}

tar = tarfile.open(fileobj=sys.stdin.buffer, mode="r|", errors="surrogateescape")
for entry in tar:
    fields = [KINDS[entry.type], ascii(entry.name), f"{entry.mode:o}", f"{entry.uid}:{entry.gid}"]
    if entry.isdev():
        fields.append(f"{entry.devmajor},{entry.devminor}")
    if entry.linkname:
        fields.append(ascii(entry.linkname))
    fields += sorted(ascii(f"{key}={value}") for key, value in entry.pax_headers.items() if key.startswith("SCHILY.xattr."))
    if entry.isreg():
        fields += [str(entry.size), hashlib.file_digest(tar.extractfile(entry), "sha256").hexdigest()]
    print(*fields, f"time={entry.pax_headers.get('mtime', entry.mtime)}")
