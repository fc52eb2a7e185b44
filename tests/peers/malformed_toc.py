#!/usr/bin/env python3
"""malformed_toc.py FROM TO FAULT: writes the OCI layout TO, which is FROM with a fault in the table of contents of a
zstd:chunked layer. All other digests are correct. Faults: flipped bytes (table, split, chunk), and those of FAULTS."""
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys

source, target, fault = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
KEY = "io.github.containers.zstd-chunked."
OLD = "io.containers.zstd-chunked."
SKIPPABLE = b"\x50\x2a\x4d\x18"


def blob(digest):
    return target / "blobs" / digest.replace(":", "/")


def put(data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    blob(digest).write_bytes(data)
    return {"digest": digest, "size": len(data)}


def zstd(data, *arguments):
    return subprocess.run(["zstd", "--quiet", "--stdout", *arguments], input=data, stdout=subprocess.PIPE, check=True).stdout


def files(entries):
    """Returns the files of one chunk that are large enough for each fault."""
    return [entry for at, entry in enumerate(entries) if entry["type"] == "reg" and entry.get("size", 0) > 2000
            and (at + 1 == len(entries) or entries[at + 1]["type"] != "chunk")]


def overlap(entries):
    one, other = files(entries)[:2]
    other["offset"], other["endOffset"] = one["offset"] + 1, one["endOffset"]


FAULTS = {
    "offset": lambda entries: files(entries)[0].update(offset=files(entries)[0]["offset"] + 1),
    "outside": lambda entries: files(entries)[-1].update(endOffset=1 << 60),
    "size": lambda entries: files(entries)[0].update(size=files(entries)[0]["size"] - 1),
    "bomb": lambda entries: files(entries)[0].update(size=1 << 50),
    "digest": lambda entries: files(entries)[0].update(digest="sha256:" + "0" * 64),
    "another": lambda entries: files(entries)[0].update({key: files(entries)[1][key] for key in ("digest", "size", "offset", "endOffset")}),
    "overlap": overlap,
    "twice": lambda entries: entries.append(entries[0]),
    "mode": lambda entries: files(entries)[0].update(mode=0o4755),
    "owner": lambda entries: files(entries)[0].update({"uid" if "uid" in files(entries)[0] else "UID": 1000}),
    "xattrs": lambda entries: files(entries)[0].update(xattrs={"security.capability": "AQAAAgAgAAAAAAAAAAAAAAAAAAA="}),
    "name": lambda entries: files(entries)[0].update(name="../../etc/passwd"),
    "missing": lambda entries: entries.remove(files(entries)[0]),
    "more": lambda entries: entries.append({"type": "symlink", "name": "more", "linkName": "/etc"}),
}

shutil.copytree(source, target)
index = json.loads((target / "index.json").read_bytes())
manifest = json.loads(blob(index["manifests"][0]["digest"]).read_bytes())
layer = max(manifest["layers"], key=lambda layer: layer["size"])
annotations = layer["annotations"]
data = bytearray(blob(layer["digest"]).read_bytes())
table_at, table_length, table_plain, kind = map(int, annotations[KEY + "manifest-position"].split(":"))
split_at, split_length, split_plain = map(int, annotations[KEY + "tarsplit-position"].split(":"))
table = json.loads(zstd(bytes(data[table_at:table_at + table_length]), "-d"))
if fault == "table":
    data[table_at + table_length // 2] ^= 1
elif fault == "split":
    data[split_at + split_length // 2] ^= 1
elif fault == "chunk":
    file = files(table["entries"])[0]
    data[(file["offset"] + file["endOffset"]) // 2] ^= 1
elif fault == "table-bomb":
    # Zeros without end where the table should be.
    packed = zstd(b" " * (1 << 28), "-19")
    table = None
else:
    FAULTS[fault](table["entries"])
    packed = zstd(json.dumps(table).encode())
if fault not in ("table", "split", "chunk"):
    plain = table_plain if table is None else len(json.dumps(table))
    split = bytes(data[split_at:split_at + split_length])
    place = [table_at, len(packed), plain, kind, table_at + len(packed) + 8, len(split), split_plain]
    footer = b"".join(number.to_bytes(8, "little") for number in place) + b"GNUlInUx"
    data = data[:table_at - 8]
    for part in packed, split, footer:
        data += SKIPPABLE + len(part).to_bytes(4, "little") + part
    annotations[KEY + "manifest-checksum"] = "sha256:" + hashlib.sha256(packed).hexdigest()
    annotations[KEY + "manifest-position"] = ":".join(map(str, place[:4]))
    annotations[KEY + "tarsplit-position"] = ":".join(map(str, place[4:]))
    for name in "manifest-checksum", "manifest-position":
        if OLD + name in annotations:
            annotations[OLD + name] = annotations[KEY + name]
layer.update(put(bytes(data)))
index["manifests"][0].update(put(json.dumps(manifest).encode()))
(target / "index.json").write_text(json.dumps(index))
