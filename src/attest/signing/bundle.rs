//! [Sigstore's bundle](https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto), version 0.3: an
//! envelope and what is needed to check it; with keys of one's own, that is a hint which one.

use serde::{Deserialize, Serialize};

use super::{Envelope, Result, SigningError, SigningKey, Statement, VerifyingKey};

/// Its media type, and the `artifactType` of referrers that hold one.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// An envelope with a hint which key it was signed with.
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
    /// Those of [`SigningKey::sign`].
    pub fn sign(statement: &Statement, key: &SigningKey) -> Result<Self> {
        Ok(Self::of(Envelope::sign(statement, key)?, Some(key.verifying_key()?.hint())))
    }

    /// A bundle of a signed envelope; `hint` tells which key signed it.
    pub fn of(envelope: Envelope, hint: Option<String>) -> Self {
        let public_key = Some(PublicKey { hint: hint.unwrap_or_default() });
        Self {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Material { public_key },
            dsse_envelope: envelope,
        }
    }

    /// Reads a bundle.
    ///
    /// # Errors
    ///
    /// [`SigningError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|error| SigningError::Malformed { what: "the bundle", why: error.to_string() })
    }

    /// Its bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        crate::oci::json::to_vec(self)
    }

    /// The statement, if the key signed it.
    ///
    /// # Errors
    ///
    /// Those of [`Envelope::verify`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<Statement> {
        self.dsse_envelope.verify(key)
    }
}
