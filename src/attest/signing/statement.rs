//! [in-toto statements](https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md): claims about artifacts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Result, SigningError};
use crate::oci::{Digest, json};

const TYPES: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

/// The predicate types that strata supports.
pub mod predicate {
    /// A signature of an image, as cosign makes it (`pkg/types/predicate.go`).
    pub const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
    /// A CycloneDX SBOM.
    pub const CYCLONEDX: &str = "https://cyclonedx.org/bom";
    /// An SPDX SBOM.
    pub const SPDX: &str = "https://spdx.dev/Document";
    /// An OpenVEX document ([ATTESTING.md](https://github.com/openvex/spec/blob/main/ATTESTING.md)). Unlike `@context`, it has no
    /// version.
    pub const OPENVEX: &str = "https://openvex.dev/ns";
    /// [SLSA provenance](https://slsa.dev/spec/v1.0/provenance).
    pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
    /// A rebuild of an image by strata (docs/rebuilding.md).
    pub const REBUILD: &str = "https://github.com/strata-images/strata/blob/main/docs/rebuilding.md#predicate-1";
}

/// The key of [`VerifiedLayers`] in the predicate of a signature.
const VERIFIED_LAYERS: &str = "verifiedLayers";

/// The layers of an image of which the signer knows that the blob decompresses to the `diff_id` of the config, because it has
/// compressed or decompressed the blob. A signature alone does not say this: images of others are signed as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VerifiedLayers {
    /// These blobs.
    Listed(BTreeSet<Digest>),
    /// All of them.
    All(All),
}

/// The word for all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    All,
}

impl VerifiedLayers {
    /// All layers.
    pub const ALL: Self = Self::All(All::All);

    /// Returns whether the blob is one of them.
    pub fn contains(&self, blob: &Digest) -> bool {
        match self {
            Self::All(_) => true,
            Self::Listed(blobs) => blobs.contains(blob),
        }
    }

    /// Returns the layers of both.
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Listed(mut blobs), Self::Listed(more)) => {
                blobs.extend(more);
                Self::Listed(blobs)
            }
            _ => Self::ALL,
        }
    }
}

impl Default for VerifiedLayers {
    fn default() -> Self {
        Self::Listed(BTreeSet::new())
    }
}

/// A statement about an artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// The artifacts that the statement is about.
    pub subject: Vec<Subject>,
    /// The type of the predicate.
    pub predicate_type: String,
    /// The predicate.
    #[serde(default)]
    pub predicate: Value,
}

/// An artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The name of the artifact, which is not verified.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The digests in hexadecimal, by algorithm.
    pub digest: BTreeMap<String, String>,
}

impl Statement {
    /// Creates a statement about the manifest or index with this digest.
    pub fn new(name: &str, digest: &Digest, predicate_type: &str, predicate: Value) -> Self {
        let text = digest.to_string();
        let (algorithm, hex) = text.split_once(':').unwrap_or(("sha256", &text));
        Self {
            kind: TYPES[0].to_owned(),
            subject: vec![Subject {
                name: name.to_owned(),
                digest: BTreeMap::from([(algorithm.to_owned(), hex.to_owned())]),
            }],
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }

    /// Creates the statement of a signature, which has an empty predicate.
    pub fn signature(digest: &Digest) -> Self {
        Self::new("", digest, predicate::SIGNATURE, Value::Object(serde_json::Map::new()))
    }

    /// The same statement, which lists layers as verified.
    pub fn with_verified_layers(mut self, layers: &VerifiedLayers) -> Self {
        if *layers != VerifiedLayers::default() {
            self.predicate[VERIFIED_LAYERS] = serde_json::to_value(layers).expect("digests are JSON");
        }
        self
    }

    /// Returns the layers that the signer has verified; none if the statement does not list them.
    pub fn verified_layers(&self) -> VerifiedLayers {
        let listed = self.predicate.get(VERIFIED_LAYERS).filter(|_| self.predicate_type == predicate::SIGNATURE);
        listed.and_then(|layers| serde_json::from_value(layers.clone()).ok()).unwrap_or_default()
    }

    /// Parses a statement.
    ///
    /// # Errors
    ///
    /// [`SigningError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let malformed = |why: String| SigningError::Malformed { what: "the statement", why };
        let statement: Self = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if !TYPES.contains(&statement.kind.as_str()) {
            return Err(malformed(format!("its type is {:?}, not {}", statement.kind, TYPES[0])));
        }
        Ok(statement)
    }

    /// Returns whether the statement is about the artifact with this digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        let text = digest.to_string();
        let (algorithm, hex) = text.split_once(':').unwrap_or(("", &text));
        self.subject.iter().any(|subject| subject.digest.get(algorithm).is_some_and(|found| found == hex))
    }

    /// Serializes the statement as the JSON that is signed.
    pub fn to_vec(&self) -> Vec<u8> {
        json::to_vec(self)
    }
}
