//! [CycloneDX 1.6](https://cyclonedx.org/docs/1.6/json/): components, their dependencies, and the completeness of both.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Bom, Component, DocumentKind};
use crate::oci::Digest;

/// The reference of the image.
const IMAGE: &str = "image";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CycloneDxDocument {
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Value,
    components: Vec<Value>,
    dependencies: Vec<Value>,
    compositions: Vec<Value>,
}

pub fn document(bom: &Bom) -> CycloneDxDocument {
    let reference = |&at: &usize| bom.components[at].reference.as_str();
    let mut dependencies =
        vec![json!({ "ref": IMAGE, "dependsOn": bom.roots().iter().map(reference).collect::<Vec<_>>() })];
    dependencies.extend(bom.components.iter().filter_map(|component| {
        let needs: Vec<&str> = component.dependencies.as_ref()?.iter().map(reference).collect();
        Some(json!({ "ref": component.reference, "dependsOn": needs }))
    }));
    let (known, unknown): (Vec<&Component>, Vec<&Component>) =
        bom.components.iter().partition(|component| component.dependencies.is_some());
    let references = |components: &[&Component]| -> Vec<String> {
        components.iter().map(|component| component.reference.clone()).collect()
    };
    let opaque = bom.components.iter().any(|component| matches!(component.kind, DocumentKind::Unknown));
    let mut compositions = vec![
        json!({ "aggregate": if opaque { "incomplete" } else { "complete" }, "assemblies": [IMAGE] }),
        json!({ "aggregate": "complete", "dependencies": references(&known) }),
    ];
    if !unknown.is_empty() {
        compositions.push(json!({ "aggregate": "unknown", "dependencies": references(&unknown) }));
    }
    CycloneDxDocument {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: format!("urn:uuid:{}", uuid(&bom.id)),
        version: 1,
        metadata: json!({
            "timestamp": bom.created,
            "tools": { "components": [
                { "type": "application", "name": "strata", "version": env!("CARGO_PKG_VERSION") }
            ] },
            "component": {
                "type": "container", "bom-ref": IMAGE, "name": bom.name, "version": bom.version,
                "properties": [ { "name": "strata:image:id", "value": bom.id } ],
            },
        }),
        components: bom.components.iter().map(component).collect(),
        dependencies,
        compositions,
    }
}

fn component(component: &Component) -> Value {
    let Component { reference, kind, identity, purl, about, .. } = component;
    let mut value = json!({
        "type": match kind {
            DocumentKind::StorePath { .. } if about.main_program.is_some() => "application",
            DocumentKind::StorePath { .. } | DocumentKind::Package if identity.version.is_some() => "library",
            DocumentKind::StorePath { .. } | DocumentKind::Package => "file",
            DocumentKind::Unknown => "container",
        },
        "bom-ref": reference,
        "name": identity.name,
    });
    let mut set = |key: &str, found: Value| value[key] = found;
    if let Some(version) = component.version() {
        set("version", version.into());
    }
    if let Some(supplier) = &about.supplier {
        set("supplier", json!({ "name": supplier.name, "url": [supplier.url] }));
    }
    if let Some(description) = &about.description {
        set("description", description.as_str().into());
    }
    if !about.maintainers.is_empty() {
        let person = |person: &super::Person| match &person.email {
            Some(email) => json!({ "name": person.name, "email": email }),
            None => json!({ "name": person.name }),
        };
        set("authors", about.maintainers.iter().map(person).collect());
    }
    if let DocumentKind::StorePath { nar_hash: Some(hash), .. } = kind {
        set("hashes", json!([ { "alg": "SHA-256", "content": Digest::from_bytes(*hash).hex() } ]));
    }
    if !about.licenses.is_empty() {
        let license = |license: &super::License| match license.listed() {
            Some(id) => json!({ "license": { "id": id } }),
            None => json!({ "license": { "name": license.name } }),
        };
        set("licenses", about.licenses.iter().map(license).collect());
    }
    if let Some(cpe) = &about.cpe {
        set("cpe", cpe.as_str().into());
    }
    if let Some(purl) = purl {
        set("purl", purl.as_str().into());
    }
    if let Some(homepage) = &about.homepage {
        set("externalReferences", json!([ { "type": "website", "url": homepage } ]));
    }
    let properties = properties(component);
    if !properties.is_empty() {
        set("properties", properties.into());
    }
    value
}

/// Returns what CycloneDX has no fields for.
fn properties(component: &Component) -> Vec<Value> {
    let Component { kind, identity, layer, about, .. } = component;
    let mut properties = Vec::new();
    let mut property = |name: &str, found: &str| properties.push(json!({ "name": name, "value": found }));
    if let DocumentKind::StorePath { path, nar_hash, at_root } = kind {
        property("nix:store_path", path.as_str());
        if let Some(output) = &identity.output {
            property("nix:output", output);
        }
        if let Some(version) = identity.version.as_deref().filter(|version| component.version() != Some(version)) {
            property("nix:version", version);
        }
        about.known_vulnerabilities.iter().for_each(|text| property("nix:known_vulnerability", text));
        if nar_hash.is_some() {
            property("nix:hash", "the SHA-256 hash is of the NAR");
        }
        if *at_root {
            property("strata:copied_to", "/");
        }
    }
    if let Some(layer) = layer {
        property("strata:layer:number", &layer.number.to_string());
        property("strata:layer:diff_id", &layer.diff_id.to_string());
    }
    properties
}

/// Returns a UUID made from a digest, so that equal images have equal UUIDs ([RFC
/// 9562](https://www.rfc-editor.org/rfc/rfc9562#section-5.8), version 8).
fn uuid(digest: &Digest) -> String {
    let hex = digest.hex();
    let variant = ["8", "9", "a", "b"][usize::from_str_radix(&hex[16..17], 16).unwrap_or_default() % 4];
    format!("{}-{}-8{}-{variant}{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
