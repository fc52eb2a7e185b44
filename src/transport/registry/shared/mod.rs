//! What pushes of many images share: a blob that one of them sent is mounted by the others, and layers are made within
//! the means of one push.

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

/// Layers that are made at once, however many images are on their way: each may compress on all cores, in some 30 MiB.
const MAKING: u32 = 4;

/// The blobs of registries that this process sent or found, and the repository that has each.
#[derive(Debug)]
pub struct Shared {
    places: Mutex<HashMap<Key, Place>>,
    pub(crate) homes: Homes,
    /// Held while a document of known layers is read and written.
    pub(crate) notes: Mutex<()>,
    pub(crate) making: Turns,
    only_own: AtomicBool,
}

/// A blob that was sent or found. The thread that holds the lock looks for it, makes it and sends it.
pub(crate) type Place = Arc<Mutex<Option<Sent>>>;

/// A blob that a registry has.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub blob: Descriptor,
    pub repository: String,
    /// For layers that are compressed on the way.
    pub evidence: Option<Evidence>,
}

impl Shared {
    /// Nothing yet. `patience` is how long a blob of another part of a fleet is waited for when nothing of that part
    /// appears.
    pub fn new(patience: Duration) -> Self {
        Self {
            places: Mutex::default(),
            homes: Homes::new(patience),
            notes: Mutex::new(()),
            making: Turns::new(MAKING),
            only_own: AtomicBool::new(false),
        }
    }

    /// Hears of an image before any is pushed, in the order of the fleet, those of other parts (`foreign`) included. Says
    /// how many of its blobs another part sends.
    pub fn expect(
        &self,
        content: &ManifestGraph,
        reference: &Reference,
        compression: Compression,
        foreign: bool,
    ) -> usize {
        self.homes.add(content, reference, compression, foreign)
    }

    /// Whether pushes from now on send what no other part sends, and nothing else: neither configs nor manifests.
    pub fn send_only_own(&self, only_own: bool) {
        self.only_own.store(only_own, Ordering::Relaxed);
    }

    pub(crate) fn sends_only_own(&self) -> bool {
        self.only_own.load(Ordering::Relaxed)
    }

    /// The place of a blob of the registry at `host`, by digest and whether it is compressed on the way.
    pub(crate) fn place(&self, host: &str, digest: Digest, compressed: bool) -> Place {
        Arc::clone(lock(&self.places).entry((host.to_owned(), digest, compressed)).or_default())
    }
}
