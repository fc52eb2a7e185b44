//! What becomes of each blob, told while it happens.

use crate::oci::Descriptor;

/// What became of one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The other side had it.
    There,
    /// It was taken over from another repository.
    Mounted,
    /// It was sent, this many bytes.
    Sent(u64),
}

/// Who is told. Blobs are counted from 1, and several are on their way at once.
pub trait Progress: Send + Sync {
    /// A blob is not there and will be sent; it is made from `size` bytes.
    fn sending(&self, _blob: usize, _size: u64) {}

    /// So many bytes more of what it is made from are sent.
    fn advance(&self, _blob: usize, _bytes: u64) {}

    /// A blob is on the other side.
    fn done(&self, _blob: usize, _descriptor: &Descriptor, _fate: Fate) {}
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {}
