"""sbom.py FORMAT FILE: whether a bill of materials is what its format's own validators and readers take."""
import json
import sys

kind, path = sys.argv[1:]
text = open(path, encoding="utf-8").read()
document = json.loads(text)
problems = []
if kind == "cyclonedx":
    from cyclonedx.model.bom import Bom
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error:
        problems.append(str(error))
    # Names, versions, CPEs and the graph survive being read by their library.
    bom = Bom.from_json(document)
    read = {(c.bom_ref.value, c.name, c.version, str(c.purl) if c.purl else None, c.cpe) for c in bom.components}
    written = {(c["bom-ref"], c["name"], c.get("version"), c.get("purl"), c.get("cpe")) for c in document["components"]}
    if read != written:
        problems.append(f"read otherwise than written: {sorted(map(str, read ^ written))[:3]}")
    edges = {(d.ref.value, to.ref.value) for d in bom.dependencies for to in d.dependencies}
    if edges != {(d["ref"], to) for d in document["dependencies"] for to in d.get("dependsOn", [])}:
        problems.append("the graph is read otherwise than written")
else:
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    read = parse_file(path)
    problems += [message.validation_message for message in validate_full_spdx_document(read)]
    if {(p.name, p.version) for p in read.packages} != {(p["name"], p["versionInfo"]) for p in document["packages"]}:
        problems.append("packages are read otherwise than written")
    # NTIA's minimum elements: supplier, name, version, identifier, relationships, author, time.
    for package in document["packages"]:
        problems += [f"{package['name']} has no {key}" for key in ("supplier", "name", "versionInfo", "SPDXID") if not package.get(key)]
    if not document["creationInfo"]["creators"] or not document["creationInfo"]["created"] or not document["relationships"]:
        problems.append("author, time or relationships are missing")
print("\n".join(problems))
sys.exit(bool(problems))
