"""layout.py DIR: an OCI layout that has what registries must serve, whose documents are not as strata would write them.

    index.json ── v1 ──▶ index ──▶ index ──▶ image for amd64
                 │           └──▶ image for arm64
                 └── no name ──▶ artifact about the index ◀── artifact about that

Prints one line of JSON: the digest of each.
"""

import gzip, hashlib, io, json, os, random, sys, tarfile

OCI = "application/vnd.oci.image."
top = sys.argv[1]
os.makedirs(f"{top}/blobs/sha256")


def blob(kind, data, **more):
    digest = hashlib.sha256(data).hexdigest()
    with open(f"{top}/blobs/sha256/{digest}", "wb") as file:
        file.write(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data), **more}


def document(kind, value, **more):
    # With blanks and an unusual order of the keys, so that a program that serializes it again changes the digest.
    return blob(OCI + kind, json.dumps({"schemaVersion": 2, "mediaType": OCI + kind, **value}, indent=3).encode(), **more)


def layer(name, size):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = size
        archive.addfile(entry, io.BytesIO(random.Random(name).randbytes(size)))
    plain = data.getvalue()
    return hashlib.sha256(plain).hexdigest(), blob(OCI + "layer.v1.tar+gzip", gzip.compress(plain, 1, mtime=0))


def image(architecture):
    layers = [layer("shared", 8 << 20), layer(architecture, 1 << 18)]
    config = {"architecture": architecture, "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + diff_id for diff_id, _ in layers]}}
    return document("manifest.v1+json", {"config": blob(OCI + "config.v1+json", json.dumps(config).encode()),
                    "layers": [layer for _, layer in layers]}, platform={"architecture": architecture, "os": "linux"})


def artifact(kind, text, subject):
    subject = {key: subject[key] for key in ("mediaType", "digest", "size")}
    return document("manifest.v1+json", {"artifactType": kind, "config": blob("application/vnd.oci.empty.v1+json", b"{}"),
                    "layers": [blob("text/plain", text.encode())], "subject": subject, "annotations": {"note": text}})


amd64, arm64 = image("amd64"), image("arm64")
nested = document("index.v1+json", {"manifests": [amd64]})
index = document("index.v1+json", {"manifests": [nested, arm64]})
bill = artifact("application/x-bill", "bill", index)
signature = artifact("application/x-signature", "signature", bill)
tagged = {**index, "annotations": {"org.opencontainers.image.ref.name": "v1"}}
with open(f"{top}/index.json", "w") as file:
    json.dump({"schemaVersion": 2, "manifests": [tagged, bill, signature]}, file)
with open(f"{top}/oci-layout", "w") as file:
    json.dump({"imageLayoutVersion": "1.0.0"}, file)
every = {"index": index, "nested": nested, "amd64": amd64, "arm64": arm64, "bill": bill, "signature": signature}
print(json.dumps({name: descriptor["digest"] for name, descriptor in every.items()}))
