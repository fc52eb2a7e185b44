#!/usr/bin/env python3
"""closure.py INDEX ROOT…: a closure as `strata plan` reads it, made from a Debian package index.

Every package of the roots' dependencies is a store path of its installed size. A dependency that would close a cycle
is dropped. INDEX is a Packages file, or `random:SEED:COUNT` for a random graph with sizes and references like those.
"""
import hashlib
import json
import random
import re
import sys

index, *roots = sys.argv[1:]
DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"


def path(name):
    digest = hashlib.sha256(name.encode()).digest()
    hash_part = "".join(DIGITS[byte % 32] for byte in digest)
    return f"/nix/store/{hash_part}-{re.sub('[^A-Za-z0-9+._?=-]', '-', name)}"


packages = {}
if index.startswith("random:"):
    _, seed, count = index.split(":")
    source = random.Random(int(seed))
    names = [f"p{number}-1" for number in range(int(count))]
    for at, name in enumerate(names):
        # Later ones are referenced by earlier ones; a few by many.
        below = range(at + 1, len(names))
        chosen = {source.choice(below) if source.random() < 0.5 else len(names) - 1 - int(source.paretovariate(1)) % (len(names) - at - 1)
                  for _ in range(source.randint(1, 8))} if below else set()
        packages[name] = (int(10 ** source.uniform(4, 7.5)), [names[to] for to in chosen])
    roots = names[:1]
    # Everything hangs together.
    packages[names[0]] = (packages[names[0]][0], names[1:1 + len(names) // 10])
else:
    for stanza in open(index, encoding="utf-8").read().split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): *(.*)$", stanza, re.M))
        if "Package" in fields:
            depends = ", ".join(fields[key] for key in ("Pre-Depends", "Depends") if key in fields)
            names = [re.sub(r"[ (:].*", "", group.split("|")[0].strip()) for group in depends.split(",") if group.strip()]
            packages.setdefault(fields["Package"], (int(fields.get("Installed-Size", 1)) * 1024, names))

sys.setrecursionlimit(100000)
done, order = {}, []


def visit(name, above):
    done[name] = []
    for to in packages[name][1]:
        if to not in packages or to in above:
            continue
        if to not in done:
            visit(to, above | {to})
        done[name].append(to)
    order.append(name)


for root in roots:
    if root in packages and root not in done:
        visit(root, {root})
# A reference to what came after it closes a cycle through another branch.
place = {name: at for at, name in enumerate(order)}
json.dump([{"path": path(name), "narSize": packages[name][0],
            "references": sorted(path(to) for to in set(done[name]) if place[to] < place[name])} for name in order], sys.stdout)
