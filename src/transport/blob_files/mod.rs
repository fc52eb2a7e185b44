//! Blobs as files, as in OCI layouts, skopeo's `dir:` and the outputs of derivations.

pub(crate) mod read;
pub(crate) mod write;

pub use write::{BlobFiles, LayoutError};
