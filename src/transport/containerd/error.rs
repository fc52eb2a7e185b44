//! The error of a load into containerd.

use crate::transport::engine::EngineError;

/// The error of a load into containerd.
#[derive(Debug, thiserror::Error)]
pub enum ContainerdError {
    /// A command failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// containerd accepted the image, but lacks some of its blobs.
    #[error("{reference} is not complete in containerd after sending all of it; `ctr images check` prints: {message}")]
    Incomplete { reference: String, message: String },
    /// containerd has no such snapshotter.
    #[error(
        "--snapshotter {name}: containerd has no usable snapshotter of this name; {choices}add it to containerd's configuration"
    )]
    UnknownSnapshotter { name: String, choices: String },
    /// The client unpacks, and does not pass on the annotations that nix-snapshotter needs.
    #[error(
        "--snapshotter {name}: the image is one of --nix-node, and containerd does not pass its store paths on to this snapshotter; \
         add `[[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]` with `snapshotter = \"{name}\"` to containerd's \
         configuration"
    )]
    NotConfigured { name: String },
}
