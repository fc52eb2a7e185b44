//! Statements of [OpenVEX 0.2](https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md), which other formats are made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::product::{is_image, is_same_image};

/// A statement about one vulnerability, in OpenVEX. The fields are in the order of the specification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VexStatement {
    #[serde(rename = "@id", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    pub vulnerability: Vulnerability,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Product>,
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_notes: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<Justification>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact_statement: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_statement: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_statement_timestamp: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vulnerability {
    #[serde(rename = "@id", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    #[serde(rename = "@id", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identifiers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hashes: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subcomponents: Vec<Product>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    NotAffected,
    Affected,
    Fixed,
    UnderInvestigation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Justification {
    ComponentNotPresent,
    VulnerableCodeNotPresent,
    VulnerableCodeNotInExecutePath,
    VulnerableCodeCannotBeControlledByAdversary,
    InlineMitigationsAlreadyExist,
}

impl VexStatement {
    /// Returns the package URLs of the packages in the image with the package URL `image`, each with its CPE. They are the
    /// subcomponents of the image, or the image itself, and the products that are packages alone. Other images are omitted.
    pub fn packages_in(&self, image: Option<&str>) -> BTreeMap<String, Option<String>> {
        let is_this =
            |product: &Product| image.is_some_and(|image| product.purls().any(|purl| is_same_image(purl, image)));
        let listed = |product: &'_ Product| match product.subcomponents.as_slice() {
            [] if is_this(product) || !product.purls().any(is_image) => vec![product.clone()],
            packages if is_this(product) => packages.to_vec(),
            _ => Vec::new(),
        };
        let identifiers = |product: Product| {
            let purl = product.purls().next()?.to_owned();
            Some((purl, product.identifiers.get("cpe23").cloned()))
        };
        self.products.iter().flat_map(listed).filter_map(identifiers).collect()
    }
}

impl Product {
    /// Returns the identifiers that are package URLs: the explicit one, and the ID, which can be another IRI.
    fn purls(&self) -> impl Iterator<Item = &str> {
        self.identifiers.get("purl").into_iter().chain(&self.id).map(String::as_str)
    }
}
