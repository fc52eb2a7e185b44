#!/usr/bin/env python3
"""An image.json of many store paths that need not exist, for explain: page.py COUNT > image.json"""
import json
import random
import sys

count = int(sys.argv[1])
random.seed(1)
letters = "0123456789abcdfghijklmnpqrsvwxyz"
store = lambda at, name: "/nix/store/" + "".join(random.choice(letters) for _ in range(32)) + f"-{name}"
names = ["app-1.0" if at == 0 else "needle-in-the-hay-7.1" if at == count // 2 else f"package{at}-{at % 9}.{at % 7}" for at in range(count)]
paths = sorted(store(at, name) for at, name in enumerate(names))
app = next(at for at, path in enumerate(paths) if path.endswith("-app-1.0"))
order = [app] + [at for at in range(count) if at != app]
closure = [None] * count
for place, at in enumerate(order):
    # Each but the first has a referrer before it.
    closure[at] = {"path": paths[at], "narSize": int(10 ** random.uniform(2, 8)), "references": set()}
    if place:
        closure[order[random.randrange(max(0, place - 50), place)]]["references"].add(at)
        closure[order[random.randrange(place)]]["references"].add(at)
for node in closure:
    node["references"] = sorted(node["references"])
digest = lambda at: "sha256:" + f"{at:064x}"
groups = [order[at::20] for at in range(20)]
layers = [
    {"digest": digest(at), "size": sum(closure[one]["narSize"] for one in group), "diff_ids": digest(at), "mediatype": "application/vnd.oci.image.layer.v1.tar",
     "paths": [{"path": paths[one]} for one in group]}
    for at, group in enumerate(groups)
]
base = {"digest": digest(99), "size": 900000000, "diff_ids": digest(99), "mediatype": "application/vnd.oci.image.layer.v1.tar", "layer-path": "/nix/store/00000000000000000000000000000000-base/layer",
        "History": {"created_by": "RUN /bin/sh -c cp /nix/store/" + "a" * 32 + "-llvm-15/lib /usr/lib"}}
json.dump({"version": 1, "image-config": {}, "layers": [base] + layers, "arch": "amd64", "name": "many", "tag": "t", "closure": closure}, sys.stdout)
