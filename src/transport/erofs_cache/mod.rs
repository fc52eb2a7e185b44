//! Caches of layers for containerd's erofs snapshotter: a file for each layer, which containerd mounts instead of downloading
//! the layer.
//!
//! ```text
//! DIR/sha256/53/53aab…0f1.erofs      the layer whose diff_id is sha256:53aab…0f1
//! ```
//!
//! containerd 2.4 and later read such directories (`layer_content_caches` in the configuration of the snapshotter; in
//! containerd's source `CacheBlobPath` in internal/erofsutils). It mounts an existing file without checking its content.
//! Therefore files are renamed into place when they are complete, and a copy checks existing files.

mod write;

use super::kind::{Capacity, Medium, Transport, WriteSide};

/// `erofs-cache:DIR`
pub(crate) const TRANSPORT: Transport = Transport {
    name: "erofs-cache",
    about: "layers as EROFS images, for containerd's erofs snapshotter",
    medium: Medium::Cache,
    read: None,
    write: WriteSide { syntax: "erofs-cache:DIR", holds: Capacity::INDEX, parse: write::parse },
    aliases: &[],
};
