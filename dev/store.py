#!/usr/bin/env python3
"""store.py DIR PATHS FILES BYTES: a synthetic store in DIR/store, and attributes of derivations over it for `strata build`.

PATHS store paths of equally many files, FILES in all, with up to 4 kB each of the same 64 kB. Each path has a sparse file,
too, so that all files together have an apparent size of BYTES; 0 is for none.

    DIR/layers, DIR/recipe    digests of 100 layers, and an image of them in DIR/image
    DIR/cyclonedx, DIR/spdx   its SBOMs, with metadata of every package
    DIR/graph                 the closure, for `strata plan`
"""
import json
import os
import random
import sys

directory, paths, files, size = sys.argv[1], *map(int, sys.argv[2:])
store = f"{directory}/store"
digits = "0123456789abcdfghijklmnpqrsvwxyz"
source = random.Random(1)
data = source.randbytes(1 << 16)


def digest(length):
    return "".join(source.choice(digits) for _ in range(length))


def make(path, number):
    """Makes a store path and returns its size."""
    total = 0
    for at in range(files // paths):
        inside = f"{path}/d{at % 4}"
        if at < 4:
            os.makedirs(inside)
        length = source.randint(0, 4000)
        start = source.randint(0, 60000)
        with open(f"{inside}/f{at}", "wb") as file:
            file.write(data[start:start + length])
        total += length
    if size:
        with open(f"{path}/sparse", "wb") as file:
            # The sizes differ, so that the layers do.
            file.truncate(size // paths + number)
        total += size // paths + number
    return total


closure = []
for number in range(paths):
    path = f"{store}/{digest(32)}-p{number}"
    references = [path] + [source.choice(closure)["path"] for _ in range(min(number, 6))]
    closure.append({"path": path, "narSize": make(path, number), "narHash": "sha256:" + digest(52), "references": references})


def request(name, out, kind, request, **more):
    attributes = {"outputs": {"out": f"{directory}/{out}"}, "strata": {"version": 1, "kind": kind, "request": request}, **more}
    with open(f"{directory}/{name}", "w") as file:
        json.dump(attributes, file)


with open(f"{directory}/config", "w") as file:
    file.write("{}")
with open(f"{directory}/graph", "w") as file:
    json.dump(closure, file)
grouping = {"maxLayers": 100}
request("layers", "out", "layers", {"grouping": grouping}, closure=closure)
request("recipe", "image", "image", {
    "grouping": grouping, "base": {"fromImage": None, "inheritConfig": "nothing"}, "config": f"{directory}/config", "labels": {},
    "guards": {"forbiddenPaths": [], "maxLayerSize": None, "maxSize": None}, "annotations": {}, "arch": "amd64", "variant": None,
    "created": "1970-01-01T00:00:01Z", "name": "synthetic", "tag": "1"}, closure=closure)
about = {"description": "a package", "homepage": "https://example.org/", "licenses": [{"spdxId": "MIT", "name": "MIT"}],
         "maintainers": [{"name": "A. Person", "email": "a@example.org"}]}
for sbom in "cyclonedx", "spdx":
    packages = [{"paths": [node["path"]], "about": about} for node in closure]
    request(sbom, "out", "sbom", {"image": f"{directory}/image", "format": sbom, "packages": packages})
