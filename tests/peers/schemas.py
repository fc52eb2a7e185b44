#!/usr/bin/env python3
"""schemas.py SCHEMAS LAYOUT: every document of an OCI layout against the image specification's JSON schemas."""
import json
import pathlib
import sys
import warnings

warnings.simplefilter("ignore")
import jsonschema

schemas, layout = map(pathlib.Path, sys.argv[1:])


def load(uri):
    # The schemas reference each other with different directories, but with the same file names.
    return json.loads((schemas / uri.split("#")[0].rsplit("/", 1)[1]).read_text())


def check(document, name):
    schema = json.loads((schemas / name).read_text())
    resolver = jsonschema.RefResolver("https://opencontainers.org/schema/" + name, schema, handlers={"https": load})
    jsonschema.Draft4Validator(schema, resolver=resolver).validate(document)


def blob(descriptor):
    return json.loads((layout / "blobs/sha256" / descriptor["digest"].split(":")[1]).read_text())


check(json.loads((layout / "oci-layout").read_text()), "image-layout-schema.json")
index = json.loads((layout / "index.json").read_text())
check(index, "image-index-schema.json")
for descriptor in index["manifests"]:
    check(descriptor, "content-descriptor.json")
    manifest = blob(descriptor)
    check(manifest, "image-manifest-schema.json")
    check(blob(manifest["config"]), "config-schema.json")
print(len(index["manifests"]), "images are as the schemas say")
