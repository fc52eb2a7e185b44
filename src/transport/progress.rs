//! Progress of a copy: events for each layer.

use crate::{image::Image, oci::Descriptor};

/// The result for one blob.
///
/// [Example](crate#transport).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was already present at the destination.
    Present,
    /// It was mounted from another repository.
    Mounted,
    /// It was sent, with this many bytes.
    Sent(u64),
}

/// The evidence that a compressed blob corresponds to an uncompressed layer.
///
/// [Example](crate#transport).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The recipe lists the blob, or an unsigned document does and `--trust-tags` is given. This holds for one push: strata
    /// neither signs such a mapping nor records it.
    Claimed,
    /// The local cache or a signed document lists the blob: a machine or key of the user has made or verified it.
    Trusted,
    /// The blob of the registry was decompressed, and has the layer's diff_id.
    Verified,
    /// The blob was made from the layer.
    Made,
}

impl Evidence {
    /// Whether the user's machines or keys have made or verified the blob.
    pub(crate) fn is_own(self) -> bool {
        self != Self::Claimed
    }
}

/// The number of layers for each kind of [`Evidence`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvidenceCounts {
    /// Layers that were mapped without verification.
    pub trusted: usize,
    /// Layers that were mapped after verification.
    pub verified: usize,
    /// Layers that were compressed.
    pub made: usize,
}

impl EvidenceCounts {
    pub fn add(&mut self, evidence: Evidence) {
        match evidence {
            Evidence::Claimed | Evidence::Trusted => self.trusted += 1,
            Evidence::Verified => self.verified += 1,
            Evidence::Made => self.made += 1,
        }
    }

    /// Adds the counts of both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            trusted: self.trusted + other.trusted,
            verified: self.verified + other.verified,
            made: self.made + other.made,
        }
    }
}

/// Receives the events of a copy. Layers are counted from 1, and several are in progress at once.
///
/// [Example](crate#transport).
pub trait Progress: Send + Sync {
    /// A new image begins. The layers of the previous one are done.
    fn image(&self, _image: &Image) {}

    /// A layer is missing at the destination and is being sent. It is made from `size` bytes.
    fn sending(&self, _layer: usize, _size: u64) {}

    /// This many more bytes of the layer's source were processed.
    fn advance(&self, _layer: usize, _bytes: u64) {}

    /// A blob of `size` bytes, which a mapping names for the layer, is being downloaded for verification.
    fn verifying(&self, _layer: usize, _size: u64) {}

    /// The evidence for the blob of a layer that is compressed on the way.
    fn evidence(&self, _layer: usize, _evidence: Evidence) {}

    /// A layer is at the destination.
    fn done(&self, _layer: usize, _descriptor: &Descriptor, _fate: Fate) {}

    /// Other blobs, such as configs, were sent.
    fn also_sent(&self, _bytes: u64) {}
}

/// Ignores all events.
///
/// [Example](crate#transport).
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {}
