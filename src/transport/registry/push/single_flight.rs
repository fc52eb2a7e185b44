//! Each blob is sent once, even if several images need it.
//!
//! ```text
//! slot     blobs of this push: the second image that needs a blob waits for the first
//! place    blobs of all pushes of a fleet: the second repository that needs a blob mounts it from the first
//! ```

use std::sync::Arc;

use super::{
    Result,
    steps::{Push, PushedLayer},
};
use crate::{
    oci::Digest,
    threads::lock,
    transport::{progress::Fate, registry::shared},
};

impl Push<'_> {
    /// Returns the blob of `key`. If no image of this push has sent it, `send` does, with the blob of another push to
    /// the same registry as its argument. Other threads that need the blob wait.
    pub(super) fn get_or_send(
        &self,
        key: Digest,
        is_compressed: bool,
        send: impl FnOnce(Option<&shared::SentBlob>) -> Result<PushedLayer>,
    ) -> Result<PushedLayer> {
        let shared = self.options.shared.as_deref();
        let place = shared.map(|shared| shared.place(self.client.host(), key, is_compressed));
        let mut place = place.as_ref().map(|place| lock(place));
        let slot = Arc::clone(lock(&self.slots).entry((key, is_compressed)).or_default());
        let mut slot = lock(&slot);
        if let Some((blob, evidence)) = &*slot {
            return Ok(PushedLayer { blob: blob.clone(), fate: Fate::Present, evidence: *evidence });
        }
        let found = send(place.as_deref().and_then(Option::as_ref))?;
        *slot = Some((found.blob.clone(), found.evidence));
        if let Some(place) = &mut place {
            let repository = self.client.repository().to_owned();
            **place = Some(shared::SentBlob { blob: found.blob.clone(), repository, evidence: found.evidence });
        }
        Ok(found)
    }
}
