//! Blobs as files, which OCI layouts, skopeo's `dir:` and the outputs of derivations share.

pub(crate) mod read;
pub(crate) mod write;

pub use write::{BlobFiles, LayoutError};
