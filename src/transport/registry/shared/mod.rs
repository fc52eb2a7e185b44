//! The state that pushes of several images share: a blob that one of them sent is mounted by the others, and the number
//! of layers that are made at once is limited.

mod homes;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    image::ManifestGraph,
    layer::compress::Compression,
    oci::{Descriptor, Digest, Reference},
    threads::{Turns, lock},
    transport::progress::Evidence,
};
pub(super) use homes::{Home, key};
use homes::{Homes, Key};

/// The maximum number of layers that are made at once by all pushes. Each may compress on all cores, and needs about 30
/// MiB.
const MAKING: u32 = 4;

/// The blobs of registries that this process sent or found, and the repository that has each.
#[derive(Debug)]
pub struct SharedBlobs {
    places: Mutex<HashMap<Key, SentBlobSlot>>,
    pub(crate) homes: Homes,
    /// Held while a document of known layers is read and written.
    pub(crate) notes: Mutex<()>,
    pub(crate) making: Turns,
    only_own: AtomicBool,
}

/// A blob that was sent or found. The thread that holds the lock searches, makes and sends it.
pub(crate) type SentBlobSlot = Arc<Mutex<Option<SentBlob>>>;

/// A blob that a registry has.
#[derive(Clone, Debug)]
pub(crate) struct SentBlob {
    pub blob: Descriptor,
    pub repository: String,
    /// Set for layers that are compressed by the push.
    pub evidence: Option<Evidence>,
}

impl SharedBlobs {
    /// Returns an empty state. `timeout` is the maximum time in which no blob of another part of a fleet appears.
    pub fn new(timeout: Duration) -> Self {
        Self {
            places: Mutex::default(),
            homes: Homes::new(timeout),
            notes: Mutex::new(()),
            making: Turns::new(MAKING),
            only_own: AtomicBool::new(false),
        }
    }

    /// Adds an image before any is pushed, in the order of the fleet, including those of other parts (`foreign`).
    /// Returns how many of its blobs another part sends.
    pub fn expect(
        &self,
        content: &ManifestGraph,
        reference: &Reference,
        compression: Compression,
        foreign: bool,
    ) -> usize {
        self.homes.add(content, reference, compression, foreign)
    }

    /// Sets whether pushes send only the layers that no other part sends, without configs and manifests.
    pub fn send_only_own(&self, only_own: bool) {
        self.only_own.store(only_own, Ordering::Relaxed);
    }

    pub(crate) fn sends_only_own(&self) -> bool {
        self.only_own.load(Ordering::Relaxed)
    }

    /// Returns the place of a blob of the registry at `host`, by digest and whether it is compressed by the push.
    pub(crate) fn place(&self, host: &str, digest: Digest, compressed: bool) -> SentBlobSlot {
        Arc::clone(lock(&self.places).entry((host.to_owned(), digest, compressed)).or_default())
    }
}
