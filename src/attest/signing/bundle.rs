//! The [Sigstore bundle](https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto), version 0.3: an
//! envelope and the data to verify it. For a signature with a user's key, this is a hint that identifies the key.

use serde::{Deserialize, Serialize};

use super::{Envelope, Result, SigningError, SigningKey, Statement, VerifyingKey};

/// The media type of bundles, and the `artifactType` of referrers that contain one.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// An envelope with a hint that identifies the key of its signature.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    media_type: String,
    #[serde(default)]
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<PublicKey>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PublicKey {
    #[serde(default)]
    hint: String,
}

impl Bundle {
    /// Signs a statement.
    ///
    /// # Errors
    ///
    /// If [`SigningKey::sign`] fails.
    pub fn sign(statement: &Statement, key: &SigningKey) -> Result<Self> {
        Ok(Self::new(Envelope::sign(statement, key)?, Some(key.verifying_key()?.hint())))
    }

    /// Creates a bundle from a signed envelope. `hint` identifies the key of the signature.
    pub fn new(envelope: Envelope, hint: Option<String>) -> Self {
        let public_key = Some(PublicKey { hint: hint.unwrap_or_default() });
        Self {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Material { public_key },
            dsse_envelope: envelope,
        }
    }

    /// Parses a bundle.
    ///
    /// # Errors
    ///
    /// [`SigningError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|error| SigningError::Malformed { what: "the bundle", why: error.to_string() })
    }

    /// Serializes the bundle as JSON.
    pub fn to_vec(&self) -> Vec<u8> {
        crate::oci::json::to_vec(self)
    }

    /// Returns the statement, if the key signed it.
    ///
    /// # Errors
    ///
    /// If [`Envelope::verify`] fails.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Statement> {
        self.dsse_envelope.verify(key)
    }
}
