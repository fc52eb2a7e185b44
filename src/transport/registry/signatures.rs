//! The signatures of an image in its registry: bundles that are attached to it, and simple signatures under a tag.
//!
//! Any account with write access to the repository can add candidates. Each is checked separately: malformed
//! candidates, those of other keys and those for other images are skipped, and do not hide others.

use serde::Deserialize;
use serde_json::Value;

use super::{Client, RegistryError};
use crate::{
    attest::{BUNDLE, Bundle, SigningError, Statement, VerifiedLayers, VerifyingKey, simple, statement::predicate},
    oci::{Descriptor, Digest},
};

/// The maximum number of candidates that a push reads to find out whether an image is signed. If it finds no signature
/// among them, mappings of the image are verified.
const PUSH_CANDIDATES: usize = 50;

/// Reads the signatures of one key.
pub struct SignatureReader<'a> {
    pub client: &'a Client,
    pub key: &'a VerifyingKey,
    /// The maximum number of bundles, and of signatures under a tag, that are read.
    pub limit: usize,
}

/// A candidate that is not a valid signature of the image.
#[derive(Debug)]
pub struct Skipped {
    pub what: String,
    pub why: SkipReason,
}

/// The reason why a candidate was skipped.
#[derive(Debug, thiserror::Error)]
pub enum SkipReason {
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error("it is a signature of this key for another image")]
    AnotherImage,
    #[error("it is signed with this key, but {0}")]
    Refused(String),
}

/// Refuses a simple signature for the repository that it names.
type CheckRepository<'c> = dyn Fn(&str) -> Result<(), String> + 'c;

/// The layers of the manifest or index with this digest that signatures of the key list as verified. Signatures under the tag
/// for signatures list none.
///
/// # Errors
///
/// If the registry cannot be asked for the list of candidates.
pub fn verified_layers(client: &Client, digest: &Digest, key: &VerifyingKey) -> Result<VerifiedLayers, RegistryError> {
    let signatures = SignatureReader { client, key, limit: PUSH_CANDIDATES };
    let statements = signatures.statements(digest, &mut Vec::new())?;
    Ok(statements.iter().map(Statement::verified_layers).fold(VerifiedLayers::default(), VerifiedLayers::union))
}

/// Whether one of the statements is a signature of its image.
pub fn has_signature(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| statement.predicate_type == predicate::SIGNATURE)
}

impl SignatureReader<'_> {
    /// Returns the statements about the image that the key signed, in bundles.
    ///
    /// # Errors
    ///
    /// If the registry cannot be asked for the list of referrers.
    pub fn statements(&self, digest: &Digest, skipped: &mut Vec<Skipped>) -> Result<Vec<Statement>, RegistryError> {
        let listed = self.client.list_referrers(digest)?;
        let malformed = |why| Skipped { what: "referrers".to_owned(), why: SkipReason::Malformed(why) };
        skipped.extend(listed.malformed.into_iter().map(malformed));
        let is_bundle = |referrer: &&Descriptor| referrer.artifact_type.as_deref() == Some(BUNDLE);
        let mut statements = Vec::new();
        for referrer in listed.descriptors.iter().filter(is_bundle).take(self.limit) {
            match self.statement(referrer, digest) {
                Ok(statement) => statements.push(statement),
                Err(why) => skipped.push(Skipped { what: format!("bundle {}", referrer.digest), why }),
            }
        }
        Ok(statements)
    }

    fn statement(&self, referrer: &Descriptor, digest: &Digest) -> Result<Statement, SkipReason> {
        let missing = || SkipReason::Malformed("it is missing, or is not a manifest with one layer".to_owned());
        let bytes = self.client.artifact(referrer)?.ok_or_else(missing)?;
        let statement = Bundle::parse(&bytes)?.verify(self.key)?;
        if statement.is_about(digest) { Ok(statement) } else { Err(SkipReason::AnotherImage) }
    }

    /// Whether the key made a signature under the image's signature tag, for a repository that `check` accepts.
    ///
    /// # Errors
    ///
    /// If the registry cannot be asked for the tag.
    pub fn is_signed_by_tag(
        &self,
        digest: &Digest,
        check: &CheckRepository<'_>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<bool, RegistryError> {
        #[derive(Deserialize)]
        struct Layers {
            layers: Vec<Value>,
        }
        let tag = simple::tag(digest);
        let Some(found) = self.client.manifest(&tag)? else { return Ok(false) };
        let Ok(Layers { layers }) = serde_json::from_slice(&found.bytes) else {
            let why = SkipReason::Malformed("it is not a manifest".to_owned());
            skipped.push(Skipped { what: format!("tag {tag}"), why });
            return Ok(false);
        };
        for (number, layer) in (1..).zip(layers).take(self.limit) {
            match self.check_signature(digest, check, layer) {
                Ok(()) => return Ok(true),
                Err(why) => skipped.push(Skipped { what: format!("signature {number} of tag {tag}"), why }),
            }
        }
        Ok(false)
    }

    fn check_signature(&self, digest: &Digest, check: &CheckRepository<'_>, layer: Value) -> Result<(), SkipReason> {
        let not_descriptor =
            |error: serde_json::Error| SkipReason::Malformed(format!("its layer is not a descriptor: {error}"));
        let layer: Descriptor = serde_json::from_value(layer).map_err(not_descriptor)?;
        if !layer.annotations.contains_key(simple::ANNOTATION) {
            return Err(SkipReason::Malformed("its layer has no signature".to_owned()));
        }
        let payload = self.client.small_blob(&layer.digest)?;
        let payload = payload.ok_or_else(|| SkipReason::Malformed("its payload is missing".to_owned()))?;
        let signed = simple::verify(&layer, &payload, digest, self.key)?;
        check(&signed).map_err(SkipReason::Refused)
    }
}
