"""buildx.py DIR: a layout as docker buildx writes it, made by hand: the tag v1 names an index of two platforms, each with
an attestation (unknown/unknown), and v2 an image of one plain layer. Prints the digest of the index."""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

top = sys.argv[1]
os.makedirs(f"{top}/blobs/sha256")
INDEX, MANIFEST, CONFIG, LAYER = (
    f"application/vnd.oci.image.{name}"
    for name in ("index.v1+json", "manifest.v1+json", "config.v1+json", "layer.v1.tar")
)


def put(kind, data, **more):
    if not isinstance(data, bytes):
        # The document is indented, because documents are copied byte for byte.
        data = json.dumps(data, indent=3).encode()
    digest = hashlib.sha256(data).hexdigest()
    with open(f"{top}/blobs/sha256/{digest}", "wb") as file:
        file.write(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data), **more}


def manifest(config, layers, **more):
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
    return put(MANIFEST, document, **more)


def image(architecture, packed=True, **more):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(f"for-{architecture}")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    tar = out.getvalue()
    layer = put(LAYER + "+gzip", gzip.compress(tar, mtime=0)) if packed else put(LAYER, tar)
    diff_ids = [f"sha256:{hashlib.sha256(tar).hexdigest()}"]
    config = {"architecture": architecture, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    return manifest(put(CONFIG, config), [layer], **more)


def attestation(subject):
    statement = put("application/vnd.in-toto+json", {"subject": subject["digest"]})
    statement["annotations"] = {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    config = {"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": [statement["digest"]]}}
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": subject["digest"]}
    unknown = {"architecture": "unknown", "os": "unknown"}
    return manifest(put(CONFIG, config), [statement], annotations=about, platform=unknown)


def index(packed, tag):
    images = [
        image(architecture, packed, platform={"architecture": architecture, "os": "linux"})
        for architecture in ("amd64", "arm64")
    ]
    attested = images + [attestation(each) for each in images]
    return put(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": attested}, annotations=named(tag))


def named(tag):
    return {"org.opencontainers.image.ref.name": tag}


tops = [index(True, "v1"), image("amd64", packed=False, annotations=named("v2")), index(False, "v3")]
with open(f"{top}/index.json", "w") as file:
    json.dump({"schemaVersion": 2, "manifests": tops}, file)
with open(f"{top}/oci-layout", "w") as file:
    file.write('{"imageLayoutVersion": "1.0.0"}')
print(tops[0]["digest"])
