#!/usr/bin/env python3
"""A mass rebuild: rebuild.py FROM TO writes the OCI layout TO, where every store path of FROM has another hash.

FROM has one image of plain layers. Everything else of it stays the same, as when a dependency of all is bumped.
"""
import hashlib
import json
import pathlib
import re
import sys

source, target = map(pathlib.Path, sys.argv[1:])
DIGITS = b"0123456789abcdfghijklmnpqrsvwxyz"
HASH = re.compile(rb"/nix/store/([0-9a-df-np-sv-z]{32})(?=-)")
BLOCK = 512


def blob(digest):
    return (source / "blobs" / digest.replace(":", "/")).read_bytes()


def other(found):
    digest = hashlib.sha256(found).digest()
    return bytes(DIGITS[byte % 32] for byte in digest)


def put(data):
    digest = hashlib.sha256(data).hexdigest()
    (target / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (target / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def rewrite(data):
    """The same bytes with other hashes, those without a store before them too."""
    known = set(HASH.findall(data))
    # A base name, in a link or a table of names.
    data = re.sub(rb"[0-9a-df-np-sv-z]{32}(?=-)", lambda match: other(match[0]) if match[0] in hashes else match[0], data)
    return data if known <= hashes else sys.exit("a hash was not seen")


def checksums(tar):
    """Headers have a sum of their own."""
    tar, at = bytearray(tar), 0
    while any(tar[at:at + BLOCK]):
        header = tar[at:at + BLOCK]
        header[148:156] = b" " * 8
        tar[at + 148:at + 156] = b"%06o\0 " % sum(header)
        size = int(bytes(header[124:136]).rstrip(b"\0 "), 8)
        at += BLOCK + (size + BLOCK - 1) // BLOCK * BLOCK
    return bytes(tar)


index = json.loads((source / "index.json").read_bytes())
manifest = json.loads(blob(index["manifests"][0]["digest"]))
config = blob(manifest["config"]["digest"])
hashes = set(HASH.findall(config))
for layer in manifest["layers"]:
    hashes |= set(HASH.findall(blob(layer["digest"])))
config = json.loads(rewrite(config))
for at, layer in enumerate(manifest["layers"]):
    layer.update(put(checksums(rewrite(blob(layer["digest"])))))
    config["rootfs"]["diff_ids"][at] = layer["digest"]
manifest["config"].update(put(json.dumps(config).encode()))
index["manifests"][0].update(put(json.dumps(manifest).encode()))
(target / "index.json").write_text(json.dumps(index))
(target / "oci-layout").write_bytes((source / "oci-layout").read_bytes())
print(len(hashes))
