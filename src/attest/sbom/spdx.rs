//! [SPDX 2.3](https://spdx.github.io/spdx-spec/v2.3/): packages and their relationships.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Bom, Component, DocumentKind, License};
use crate::oci::Digest;

const IMAGE: &str = "SPDXRef-image";
/// The prefix of licence identifiers that SPDX's list lacks.
const REFERENCE: &str = "LicenseRef-";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpdxDocument {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: Value,
    packages: Vec<Value>,
    relationships: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    has_extracted_licensing_infos: Vec<Value>,
}

pub fn document(bom: &Bom) -> SpdxDocument {
    let mut others: BTreeMap<String, &str> = BTreeMap::new();
    let mut packages = vec![json!({
        "SPDXID": IMAGE, "name": bom.name, "versionInfo": bom.version,
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "supplier": "NOASSERTION",
        "comment": format!("image id (digest of its config): {}", bom.id),
    })];
    packages.extend(bom.components.iter().map(|component| package(component, &mut others)));
    let relation = |from: &str, kind: &str, to: &str| json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to });
    let mut relationships = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)];
    for component in &bom.components {
        let component_id = id(component);
        relationships.push(relation(IMAGE, "CONTAINS", &component_id));
        match &component.dependencies {
            Some(needs) if needs.is_empty() => relationships.push(relation(&component_id, "DEPENDS_ON", "NONE")),
            Some(needs) => {
                let needs = needs.iter().map(|&to| relation(&component_id, "DEPENDS_ON", &id(&bom.components[to])));
                relationships.extend(needs);
            }
            None => relationships.push(relation(&component_id, "DEPENDS_ON", "NOASSERTION")),
        }
    }
    let roots = bom.roots();
    relationships.extend(roots.iter().map(|&at| relation(IMAGE, "DEPENDS_ON", &id(&bom.components[at]))));
    let other = |(id, name): (String, &str)| json!({ "licenseId": id, "name": name, "extractedText": "NOASSERTION" });
    SpdxDocument {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: "SPDXRef-DOCUMENT",
        name: format!("{}:{}", bom.name, bom.version),
        document_namespace: format!("https://spdx.org/spdxdocs/strata-{}", bom.id.hex()),
        creation_info: json!({
            // The specification allows neither time offsets nor fractions of seconds.
            "created": bom.created.to_whole_utc(),
            "creators": [ concat!("Tool: strata-", env!("CARGO_PKG_VERSION")) ],
        }),
        packages,
        relationships,
        has_extracted_licensing_infos: others.into_iter().map(other).collect(),
    }
}

fn id(component: &Component) -> String {
    format!("SPDXRef-{}", plain(&component.reference))
}

/// Returns an identifier of letters, digits, dots and dashes. Other characters are replaced by their numbers, so that
/// identifiers stay different.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => plain.push(letter),
            other => plain += &format!("-{:x}-", u32::from(other)),
        }
    }
    plain
}

fn package<'a>(component: &'a Component, others: &mut BTreeMap<String, &'a str>) -> Value {
    let Component { kind, identity, purl, about, .. } = component;
    let mut value = json!({
        "SPDXID": id(component),
        "name": identity.name,
        "versionInfo": component.version().unwrap_or("NOASSERTION"),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "supplier": "NOASSERTION",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licenses(&about.licenses, others),
        "copyrightText": "NOASSERTION",
    });
    let mut set = |key: &str, found: Value| value[key] = found;
    if let Some(supplier) = &about.supplier {
        set("supplier", format!("Organization: {}", supplier.name).into());
    }
    if about.main_program.is_some() {
        set("primaryPackagePurpose", "APPLICATION".into());
    }
    if let Some(person) = about.maintainers.first() {
        let email = person.email.as_ref().map_or_else(String::new, |email| format!(" ({email})"));
        set("originator", format!("Person: {}{email}", person.name).into());
    }
    if let Some(description) = &about.description {
        set("summary", description.as_str().into());
    }
    if let Some(homepage) = &about.homepage {
        set("homepage", homepage.as_str().into());
    }
    let mut references = Vec::new();
    if let Some(cpe) = &about.cpe {
        references
            .push(json!({ "referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": cpe }));
    }
    if let Some(purl) = purl {
        references
            .push(json!({ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl }));
    }
    if !references.is_empty() {
        set("externalRefs", references.into());
    }
    if let DocumentKind::StorePath { path, nar_hash, .. } = kind {
        set("packageFileName", path.as_str().into());
        if let Some(hash) = nar_hash {
            set("checksums", json!([ { "algorithm": "SHA256", "checksumValue": Digest::from_bytes(*hash).hex() } ]));
        }
    }
    let comments = comments(component);
    if !comments.is_empty() {
        set("comment", comments.join("; ").into());
    }
    value
}

/// Returns what SPDX has no fields for.
fn comments(component: &Component) -> Vec<String> {
    let Component { kind, identity, about, layer, .. } = component;
    let mut comments = Vec::new();
    if let DocumentKind::StorePath { nar_hash, at_root, .. } = kind {
        if nar_hash.is_some() {
            comments.push("the checksum is of the NAR".to_owned());
        }
        if let Some(version) = identity.version.as_deref().filter(|version| component.version() != Some(version)) {
            comments.push(format!("the version in nixpkgs is {version}"));
        }
        let known = about.known_vulnerabilities.iter();
        comments.extend(known.map(|text| format!("nixpkgs marks it as insecure: {text}")));
        if *at_root {
            comments.push("its contents are at /".to_owned());
        }
    }
    if let Some(layer) = layer {
        comments.push(format!("in layer {}, diff_id {}", layer.number, layer.diff_id));
    }
    if matches!(kind, DocumentKind::Unknown) {
        comments.push("nothing is known of what this layer holds".to_owned());
    }
    comments
}

/// Returns an expression for licences that all apply.
fn licenses<'a>(licenses: &'a [License], others: &mut BTreeMap<String, &'a str>) -> String {
    let mut expression = Vec::new();
    for license in licenses {
        expression.push(match license.listed() {
            Some(id) => id.to_owned(),
            None => {
                let identifier = license.spdx_id.as_deref().map_or("", |id| id.trim_start_matches(REFERENCE));
                let called = [identifier, &license.name].into_iter().find(|called| !called.is_empty());
                let id = format!("{REFERENCE}{}", plain(called.unwrap_or("unknown")));
                others.insert(id.clone(), &license.name);
                id
            }
        });
    }
    if expression.is_empty() { "NOASSERTION".to_owned() } else { expression.join(" AND ") }
}
