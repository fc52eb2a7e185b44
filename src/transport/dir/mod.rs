//! skopeo's `dir:`: `version`, `manifest.json`, and blobs by their bare digest.

pub(crate) mod read;
pub(crate) mod write;

pub use write::{write, write_into};
