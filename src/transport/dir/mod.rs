//! skopeo's `dir:`: `version`, `manifest.json`, and blobs by their bare digest.

pub(crate) mod read;
pub(crate) mod write;

use super::kind::{Capacity, Medium, ParseSource, ReadSide, Transport, WriteSide};
pub use write::{write, write_into};

/// `dir:DIR`
pub(crate) const TRANSPORT: Transport = Transport {
    name: "dir",
    about: "skopeo's directory of blobs",
    medium: Medium::Directory,
    read: Some(ReadSide { syntax: "dir:DIR", parse: ParseSource::Path }),
    write: WriteSide { syntax: "dir:DIR", holds: Capacity::IMAGE, parse: write::parse },
    aliases: &[],
};
