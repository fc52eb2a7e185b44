#!/usr/bin/env python3
"""sbom.py VERSION: reads `cargo metadata` from stdin and writes the program's SBOM to stdout, as CycloneDX 1.6.

Lists the crates that the program is compiled from, without those that only tests and build scripts use. The same
metadata give the same bytes."""

import json
import sys


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def linked(resolve, root):
    """The ids of the packages that end up in the program: normal dependencies, and the normal dependencies of these."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    found, queue = {}, [root]
    while queue:
        package = queue.pop()
        if package in found:
            continue
        normal = [d["pkg"] for d in nodes[package]["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]
        found[package] = normal
        queue += normal
    return found


def component(package):
    result = {"type": "library", "bom-ref": purl(package), "name": package["name"], "version": package["version"],
              "purl": purl(package)}
    if package.get("license"):
        result["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package.get("repository"):
        result["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return result


def main():
    version = sys.argv[1]
    metadata = json.load(sys.stdin)
    packages = {package["id"]: package for package in metadata["packages"]}
    root = metadata["resolve"]["root"]
    edges = linked(metadata["resolve"], root)
    names = {id: purl(packages[id]) for id in edges}
    program = component(packages[root]) | {"type": "application", "name": "strata", "version": version}
    json.dump({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": program},
        "components": sorted((component(packages[id]) for id in edges if id != root), key=lambda c: c["purl"]),
        "dependencies": sorted(({"ref": names[id], "dependsOn": sorted({names[d] for d in edges[id]})} for id in edges),
                               key=lambda d: d["ref"]),
    }, sys.stdout, indent=1)
    print()


main()
