"""grype_database.py DIR LINE…: a vulnerability database of grype (schema 6) with the vulnerabilities of the lines, each
`CVE VENDOR PRODUCT CONSTRAINT`, as NVD's."""
import json
import os
import sqlite3
import sys

directory, lines = sys.argv[1], sys.argv[2:]
os.makedirs(directory, exist_ok=True)
database = sqlite3.connect(f"{directory}/vulnerability.db")
# The tables and columns that a scan reads (grype/db/v6/models.go).
TABLES = {
    "blobs": "id integer primary key, value text",
    "db_metadata": "build_timestamp datetime, model integer, revision integer, addition integer",
    "providers": "id text primary key, version text, processor text, date_captured datetime, input_digest text",
    "vulnerability_handles": "id integer primary key, name text, status text, published_date datetime, modified_date datetime, "
    "withdrawn_date datetime, provider_id text, blob_id integer",
    "vulnerability_aliases": "name text, alias text",
    "operating_systems": "id integer primary key, name text, release_id text, channel text, major_version text, minor_version text, "
    "label_version text, codename text, eol_date datetime, eoas_date datetime",
    "operating_system_specifier_overrides": "alias text, version text, version_pattern text, codename text, channel text, "
    "replacement_name text, replacement_major_version text, replacement_minor_version text, replacement_label_version text, "
    "replacement_channel text, rolling integer, applicable_client_db_schemas text",
    "packages": "id integer primary key, ecosystem text, name text",
    "package_cpes": "package_id integer, cpe_id integer",
    "package_specifier_overrides": "ecosystem text, replacement_ecosystem text",
    "architecture_aliases": "alias text, canonical text",
    "cpes": "id integer primary key, part text, vendor text, product text, edition text, language text, software_edition text, "
    "target_hardware text, target_software text, other text",
    "known_exploited_vulnerability_handles": "id integer primary key, cve text, blob_id integer",
    "epss_handles": "id integer primary key, cve text, epss real, percentile real",
    "epss_metadata": "date datetime",
    "cwe_handles": "id integer primary key, cve text, cwe text, source text, type text",
    "ssvc_handles": "id integer primary key, cve text",
}
for kind in ("affected", "unaffected"):
    TABLES[f"{kind}_cpe_handles"] = "id integer primary key, vulnerability_id integer, cpe_id integer, blob_id integer"
    TABLES[f"{kind}_package_handles"] = (
        "id integer primary key, vulnerability_id integer, operating_system_id integer, package_id integer, blob_id integer"
    )
for name, columns in TABLES.items():
    database.execute(f"create table {name} ({columns})")


def insert(table, **row):
    columns, places = ", ".join(row), ", ".join("?" * len(row))
    return database.execute(f"insert into {table} ({columns}) values ({places})", list(row.values())).lastrowid


insert("db_metadata", build_timestamp="2026-01-01 00:00:00+00:00", model=6, revision=1, addition=10)
insert("providers", id="nvd", version="2", processor="test", date_captured="2026-01-01 00:00:00+00:00", input_digest="xxh64:0")
for line in lines:
    cve, vendor, product, constraint = line.split(" ", 3)
    blob = insert("blobs", value=json.dumps({"id": cve, "description": line}))
    vulnerability = insert("vulnerability_handles", name=cve, status="active", provider_id="nvd", blob_id=blob)
    # All other columns are empty, not NULL.
    empty = dict.fromkeys(["edition", "language", "software_edition", "target_hardware", "target_software", "other"], "")
    cpe = insert("cpes", part="a", vendor=vendor, product=product, **empty)
    ranges = [{"version": {"type": "", "constraint": constraint}, "fix": {"version": "", "state": "unknown"}}]
    blob = insert("blobs", value=json.dumps({"cves": [cve], "ranges": ranges}))
    insert("affected_cpe_handles", vulnerability_id=vulnerability, cpe_id=cpe, blob_id=blob)
database.commit()
database.close()
with open(f"{directory}/import.json", "w", encoding="utf-8") as file:
    json.dump({"digest": "xxh64:0", "source": "test", "client_version": "v6.1.10"}, file)
