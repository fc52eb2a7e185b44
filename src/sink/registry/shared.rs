//! What pushes of many images share: a blob that one of them sent is mounted by the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::lock;
use crate::oci::{Descriptor, Digest};

/// The blobs of registries that this process sent or found, and the repository that has each.
#[derive(Debug, Default)]
pub struct Shared {
    places: Mutex<HashMap<(String, Digest, bool), Place>>,
    /// Held while a document of known layers is read and written.
    pub(super) notes: Mutex<()>,
}

/// A blob and its repository; whoever holds the lock looks for it, makes it and sends it.
pub(super) type Place = Arc<Mutex<Option<(Descriptor, String)>>>;

impl Shared {
    /// The place of a blob of the registry at `host`, by digest and whether it is compressed on the way.
    pub(super) fn place(&self, host: &str, digest: Digest, compressed: bool) -> Place {
        Arc::clone(lock(&self.places).entry((host.to_owned(), digest, compressed)).or_default())
    }
}
