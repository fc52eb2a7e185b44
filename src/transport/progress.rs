//! Progress: events for each layer.

use crate::{image::Image, oci::Descriptor};

/// What became of one blob.
///
/// [Example](crate#transport).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The other side had it.
    There,
    /// It was taken over from another repository.
    Mounted,
    /// It was sent, this many bytes.
    Sent(u64),
}

/// How it is known which compressed blob an uncompressed layer corresponds to.
///
/// [Example](crate#transport).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A trusted mapping says so: the recipe, the local cache, a signed document, or any document with `--trust-tags`.
    Trusted,
    /// The registry's blob was decompressed, and has the layer's diff_id.
    Verified,
    /// The blob was made from the layer.
    Made,
}

/// How many layers there were of each [`Evidence`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvidenceCounts {
    /// Layers taken over on trust.
    pub trusted: usize,
    /// Layers taken over after verification.
    pub verified: usize,
    /// Layers compressed now.
    pub made: usize,
}

impl EvidenceCounts {
    /// Counts one layer.
    pub fn add(&mut self, evidence: Evidence) {
        match evidence {
            Evidence::Trusted => self.trusted += 1,
            Evidence::Verified => self.verified += 1,
            Evidence::Made => self.made += 1,
        }
    }

    /// The sum of both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            trusted: self.trusted + other.trusted,
            verified: self.verified + other.verified,
            made: self.made + other.made,
        }
    }
}

/// Who is told. Layers are counted from 1, and several are on their way at once.
///
/// [Example](crate#transport).
pub trait Progress: Send + Sync {
    /// An image follows: the layers of the one before are done.
    fn image(&self, _image: &Image) {}

    /// A layer is not there and will be sent; it is made from `size` bytes.
    fn sending(&self, _layer: usize, _size: u64) {}

    /// So many bytes more of what it is made from are sent.
    fn advance(&self, _layer: usize, _bytes: u64) {}

    /// A blob of `size` bytes, said to be a layer, is downloaded and compared with it.
    fn verifying(&self, _layer: usize, _size: u64) {}

    /// The evidence for the blob of a layer that is compressed on the way.
    fn evidence(&self, _layer: usize, _evidence: Evidence) {}

    /// A layer is on the other side.
    fn done(&self, _layer: usize, _descriptor: &Descriptor, _fate: Fate) {}

    /// What else was sent: configs.
    fn also_sent(&self, _bytes: u64) {}
}

/// Reports nothing.
///
/// [Example](crate#transport).
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {}
