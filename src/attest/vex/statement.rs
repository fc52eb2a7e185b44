//! Statements of [OpenVEX 0.2](https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md), which other formats are made from.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{
    VexError,
    product::{is_image, is_same_image},
};
use crate::oci::Timestamp;

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
    /// Checks the requirements of the specification that the types do not express. `number` is the position in the document,
    /// counted from 1.
    ///
    /// # Errors
    ///
    /// The first requirement that is not met.
    pub fn check(&self, number: usize) -> Result<(), VexError> {
        if is_blank(&self.vulnerability.name) {
            return Err(VexError::NoVulnerability(number));
        }
        let vulnerability = self.vulnerability.name.clone();
        let texts = [("impact_statement", &self.impact_statement), ("action_statement", &self.action_statement)];
        if let Some((field, _)) = texts.into_iter().find(|(_, text)| text.as_deref().is_some_and(is_blank)) {
            return Err(VexError::Empty { vulnerability, field });
        }
        if self.status == Status::NotAffected && self.justification.is_none() && self.impact_statement.is_none() {
            return Err(VexError::NoJustification(vulnerability));
        }
        if self.status == Status::Affected && self.action_statement.is_none() {
            return Err(VexError::NoAction(vulnerability));
        }
        if !self.products.iter().all(Product::is_identified) {
            return Err(VexError::NoIdentifier(vulnerability));
        }
        check_time("timestamp", self.timestamp.as_deref())?;
        check_time("last_updated", self.last_updated.as_deref())?;
        check_time("action_statement_timestamp", self.action_statement_timestamp.as_deref())
    }

    /// Returns the package URLs of the packages in the image with the package URL `image`, each with its CPE. They are the
    /// subcomponents of the image, or the image itself, and the products that are packages alone. Other images are omitted, and so
    /// are packages without a package URL.
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
        let identifiers = self.identifiers.get("purl").into_iter().chain(&self.id).map(String::as_str);
        identifiers.filter(|identifier| identifier.starts_with("pkg:"))
    }

    /// Whether the product and its subcomponents have identifiers or hashes, and none of them is empty.
    fn is_identified(&self) -> bool {
        let mut identifiers = self.id.iter().chain(self.identifiers.values()).chain(self.hashes.values()).peekable();
        identifiers.peek().is_some()
            && identifiers.all(|identifier| !is_blank(identifier))
            && self.subcomponents.iter().all(Self::is_identified)
    }
}

/// Checks a time in a document. Readers of OpenVEX refuse other forms than RFC 3339.
///
/// # Errors
///
/// If it has another form, or does not exist.
pub fn check_time(field: &'static str, text: Option<&str>) -> Result<(), VexError> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        let form = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$";
        Regex::new(form).expect("the pattern is a constant")
    });
    match text {
        Some(text) if !FORM.is_match(text) || text.parse::<Timestamp>().is_err() => {
            Err(VexError::Time { field, text: text.to_owned() })
        }
        _ => Ok(()),
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
