//! VEX: which vulnerabilities of an image's packages are fixed by patches, so that scanners do not report them.
//!
//! ```text
//! derivation of a store path, or ──▶ patches whose name or header has a CVE number ──▶ fixed ────┐
//! the expression of the image    ──▶ meta.knownVulnerabilities with a CVE number   ──▶ affected ─┤
//! documents of a team (OpenVEX)  ──▶ statements, as they are ────────────────────────────────────┼──▶ OpenVEX 0.2
//!                                                                                                └──▶ CycloneDX VEX 1.6
//! ```
//!
//! Scanners compare versions, but nixpkgs fixes vulnerabilities with patches that do not change the version. Nothing is guessed:
//! a package without such a patch has no statement, and a scanner reports its vulnerabilities.
//!
//! The formats are those of [openvex/spec](https://github.com/openvex/spec) (OPENVEX-SPEC.md and openvex_json_schema.json) and
//! [CycloneDX 1.6](https://cyclonedx.org/docs/1.6/json/#vulnerabilities).

mod cyclonedx;
mod package;
mod patches;
mod product;
mod statement;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    image::Image,
    oci::{Digest, Reference, Timestamp},
};
pub use package::Package;
pub use patches::{list, read};
use product::image_purl;
use statement::{Product, VexStatement, check_time};

/// The value of `@context`.
const CONTEXT: &str = "https://openvex.dev/ns/v0.2.0";
/// The media type of documents in registries.
pub const MEDIA_TYPE: &str = "application/vnd.openvex+json";
/// The default author.
pub const AUTHOR: &str = "strata";
/// The start of the identifiers of documents.
const DOCUMENT: &str = "https://github.com/strata-images/strata/blob/main/docs/vex.md#";

/// A VEX document, independent of the format.
#[derive(Clone, Debug)]
pub struct Vex {
    /// The package URL of the image.
    product: Option<String>,
    author: String,
    created: Timestamp,
    statements: Vec<VexStatement>,
    /// The content of the last statement about a vulnerability at one time (the first part of the key) and a product.
    last: HashMap<(Digest, Digest), Digest>,
}

/// An OpenVEX document of a team, or one that a build has made.
#[derive(Clone, Debug, Deserialize)]
pub struct Document {
    #[serde(rename = "@context")]
    context: String,
    timestamp: Option<String>,
    statements: Vec<VexStatement>,
}

/// The reason that a document of a team is refused.
#[derive(Debug, thiserror::Error)]
pub enum VexError {
    /// It is not JSON, or has unknown fields or values.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It has another format or version.
    #[error("its @context is {0:?}, not {CONTEXT}")]
    Context(String),
    /// A statement lacks the vulnerability. Statements are counted from 1.
    #[error("statement {0}: vulnerability.name is empty; write an identifier, for example CVE-2024-12345")]
    NoVulnerability(usize),
    /// The specification requires a reason.
    #[error("{0}: the status not_affected requires a justification or an impact_statement")]
    NoJustification(String),
    /// The specification requires an action.
    #[error("{0}: the status affected requires an action_statement")]
    NoAction(String),
    /// A text has only white space.
    #[error("{vulnerability}: {field} is empty; write a text, or remove the field")]
    Empty {
        /// The name of the vulnerability.
        vulnerability: String,
        /// The name of the field.
        field: &'static str,
    },
    /// A product cannot be found.
    #[error(
        "{0}: a product or subcomponent has no identifier, or an empty one; write its package URL as @id, for example pkg:nix/openssl@3.0.1"
    )]
    NoIdentifier(String),
    /// A time has another format.
    #[error("{field} is {text:?}, which is not a time of RFC 3339; write it like 2024-01-31T00:00:00Z")]
    Time {
        /// The name of the field.
        field: &'static str,
        /// Its value.
        text: String,
    },
}

impl Document {
    /// Parses an OpenVEX document.
    ///
    /// # Errors
    ///
    /// If it is not an OpenVEX document of version 0.2, or a statement lacks what the specification requires.
    pub fn parse(text: &[u8]) -> Result<Self, VexError> {
        let document: Self = serde_json::from_slice(text)?;
        if document.context != CONTEXT {
            return Err(VexError::Context(document.context));
        }
        check_time("timestamp", document.timestamp.as_deref())?;
        for (number, statement) in (1..).zip(&document.statements) {
            statement.check(number)?;
        }
        Ok(document)
    }
}

impl Vex {
    /// Creates a document without statements about an image: `digest` is that of its manifest, and `reference` is its place in a
    /// registry.
    ///
    /// # Errors
    ///
    /// If the configuration of the image is malformed.
    pub fn new(
        image: &Image,
        digest: &Digest,
        reference: Option<&Reference>,
        author: &str,
    ) -> serde_json::Result<Self> {
        Ok(Self {
            product: Some(image_purl(image.reference.as_deref(), digest, reference)),
            ..Self::for_packages(image, author)?
        })
    }

    /// Creates a document without statements about the packages of an image whose digest is not known before a push.
    ///
    /// # Errors
    ///
    /// If the configuration of the image is malformed.
    pub fn for_packages(image: &Image, author: &str) -> serde_json::Result<Self> {
        let created = image.parse_config()?.created.unwrap_or(Timestamp::EPOCH);
        Ok(Self { product: None, author: author.to_owned(), created, statements: Vec::new(), last: HashMap::new() })
    }

    /// Adds the statements about a package.
    pub fn add(&mut self, package: &Package) {
        let statements = package.statements(self.product.as_deref());
        statements.into_iter().for_each(|statement| self.push(statement));
    }

    /// Adds the statements of a document. Statements without products are about the image.
    pub fn merge(&mut self, document: &Document) {
        for statement in &document.statements {
            let mut statement = statement.clone();
            // A later statement overrides an earlier one.
            statement.timestamp = statement.timestamp.or_else(|| document.timestamp.clone());
            if statement.products.is_empty() {
                statement.products.push(Product { id: self.product.clone(), ..Product::default() });
            }
            self.push(statement);
        }
    }

    /// Adds a statement, unless the last statements about its products with the same timestamp are equal.
    fn push(&mut self, statement: VexStatement) {
        let timestamp = statement.timestamp.clone().unwrap_or_else(|| self.created.to_string());
        let subject = digest(&(&statement.vulnerability.name, &timestamp));
        let content =
            digest(&VexStatement { id: None, products: Vec::new(), timestamp: Some(timestamp), ..statement.clone() });
        let mut is_new = false;
        for product in &statement.products {
            is_new |= self.last.insert((subject, digest(product)), content) != Some(content);
        }
        if is_new {
            self.statements.push(statement);
        }
    }

    /// Whether there is no statement. OpenVEX has no documents without statements.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// Returns the OpenVEX document. The same statements give the same bytes.
    pub fn openvex(&self) -> Value {
        let statements = serde_json::to_value(&self.statements).expect("statements have string keys");
        let id = Digest::sha256(
            format!("{}{}{statements}", self.author, self.product.as_deref().unwrap_or_default()).as_bytes(),
        );
        json!({
            "@context": CONTEXT,
            "@id": format!("{DOCUMENT}{}", id.hex()),
            "author": self.author,
            "timestamp": self.created.to_string(),
            "version": 1,
            "tooling": format!("strata {}", env!("CARGO_PKG_VERSION")),
            "statements": statements,
        })
    }
}

/// Returns the digest of a value in JSON, which takes less memory in a map than the value.
fn digest(value: &impl Serialize) -> Digest {
    Digest::sha256(&serde_json::to_vec(value).expect("statements have string keys"))
}

#[cfg(test)]
mod tests;
