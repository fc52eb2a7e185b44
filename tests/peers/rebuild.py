#!/usr/bin/env python3
"""A mass rebuild: rebuild.py FROM TO writes the OCI layout TO, where every store path of FROM has another hash.

FROM has one image of plain layers. Everything else of it stays the same, as when a dependency of all is bumped.

An update: rebuild.py FROM TO NAME changes the store paths whose names begin with NAME: their hashes, those of all that
references them, and each byte of their own files (one for another, so that they compress as before).
"""
import hashlib
import io
import json
import os
import pathlib
import re
import sys
import tarfile

source, target = map(pathlib.Path, sys.argv[1:3])
update = sys.argv[3].encode() if sys.argv[3:] else None
DIGITS = b"0123456789abcdfghijklmnpqrsvwxyz"
HASH = re.compile(rb"/nix/store/([0-9a-df-np-sv-z]{32})(?=-)")
ANY = re.compile(rb"[0-9a-df-np-sv-z]{32}(?=-)")
OTHER_BYTES = bytes(byte ^ 0x55 for byte in range(256))
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
    # A base name, in a link or a table of names, too.
    return ANY.sub(lambda match: other(match[0]) if match[0] in changed else match[0], data)


def read(layer):
    """What is in a layer: the hash in each file's path, those that it has in it, and where its bytes are."""
    data = blob(layer["digest"])
    for member in tarfile.open(fileobj=io.BytesIO(data)):
        name = member.name.encode(errors="surrogateescape")
        own = HASH.search(b"/" + name.lstrip(b"/") + b"-")
        if own:
            place = slice(member.offset_data, member.offset_data + member.size) if member.isfile() else slice(0)
            held = ANY.findall(data[place] + b" " + member.linkname.encode(errors="surrogateescape"))
            yield own[1], hashes.intersection(held), place


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
changed, renewed = hashes, set()
if update is not None:
    renewed = set()
    references = {}
    for layer in manifest["layers"]:
        renewed |= {match[1] for match in re.finditer(HASH.pattern + b"-" + re.escape(update) + rb"(?![0-9A-Za-z+.])", blob(layer["digest"]))}
        for own, held, _ in read(layer):
            references.setdefault(own, set()).update(held)
    changed = set(renewed)
    while more := {own for own, held in references.items() if held & changed} - changed:
        changed |= more
config = json.loads(rewrite(config))
for at, layer in enumerate(manifest["layers"]):
    old = blob(layer["digest"])
    new = rewrite(old)
    if renewed:
        new = bytearray(new)
        for own, _, place in read(layer):
            if own in renewed:
                new[place] = new[place].translate(OTHER_BYTES)
        new = bytes(new)
    if new == old:
        place = target / "blobs" / layer["digest"].replace(":", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(source / "blobs" / layer["digest"].replace(":", "/"), place)
        continue
    layer.update(put(checksums(new)))
    config["rootfs"]["diff_ids"][at] = layer["digest"]
manifest["config"].update(put(json.dumps(config).encode()))
index["manifests"][0].update(put(json.dumps(manifest).encode()))
(target / "index.json").write_text(json.dumps(index))
(target / "oci-layout").write_bytes((source / "oci-layout").read_bytes())
print(len(changed))
