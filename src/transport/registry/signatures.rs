//! The signatures of an image in its registry.

use super::{Client, RegistryError};
use crate::{
    attest::{BUNDLE, Bundle, VerifyingKey, simple, statement::predicate},
    oci::{Descriptor, Digest, Manifest},
};

/// Referrers and tagged signatures of one image that are read. Anyone with write access can add some.
const CANDIDATES: usize = 50;

/// Whether the key signed the manifest or index with this digest, in a bundle or under the tag for signatures.
///
/// Each candidate is judged alone: malformed ones, those of other keys and those for other images are skipped.
///
/// # Errors
///
/// When the registry cannot be asked for the list of candidates.
pub fn is_signed(client: &Client, digest: &Digest, key: &VerifyingKey) -> std::result::Result<bool, RegistryError> {
    let listed = client.list_referrers(digest)?.descriptors;
    let mut bundles = listed.iter().filter(|referrer| referrer.artifact_type.as_deref() == Some(BUNDLE));
    if bundles.by_ref().take(CANDIDATES).any(|referrer| has_signature(client, referrer, digest, key)) {
        return Ok(true);
    }
    let Some(document) = client.manifest(&simple::tag(digest))? else { return Ok(false) };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&document.bytes) else { return Ok(false) };
    let payload = |layer: &Descriptor| client.small_blob(&layer.digest).ok().flatten();
    let is_signature = |layer: &&Descriptor| layer.annotations.contains_key(simple::ANNOTATION);
    let mut candidates = manifest.layers.iter().filter(is_signature).take(CANDIDATES);
    Ok(candidates
        .any(|layer| payload(layer).is_some_and(|payload| simple::verify(layer, &payload, digest, key).is_ok())))
}

fn has_signature(client: &Client, referrer: &Descriptor, digest: &Digest, key: &VerifyingKey) -> bool {
    let Ok(Some(bytes)) = client.artifact(referrer) else { return false };
    let statement = Bundle::parse(&bytes).and_then(|bundle| bundle.verify(key));
    statement.is_ok_and(|statement| statement.predicate_type == predicate::SIGNATURE && statement.is_about(digest))
}
