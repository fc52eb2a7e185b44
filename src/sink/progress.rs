//! What becomes of each layer, told while it happens.

use crate::{blobs::ImageBlobs, oci::Descriptor};

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

/// Who is told. Layers are counted from 1, and several are on their way at once.
pub trait Progress: Send + Sync {
    /// An image follows: the layers of the one before are done.
    fn image(&self, _image: &ImageBlobs) {}

    /// A layer is not there and will be sent; it is made from `size` bytes.
    fn sending(&self, _layer: usize, _size: u64) {}

    /// So many bytes more of what it is made from are sent.
    fn advance(&self, _layer: usize, _bytes: u64) {}

    /// A layer is on the other side.
    fn done(&self, _layer: usize, _descriptor: &Descriptor, _fate: Fate) {}

    /// What else was sent: configs.
    fn also_sent(&self, _bytes: u64) {}
}

/// Reports nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {}
