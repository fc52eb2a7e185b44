//! The table of contents: what every file of the layer is, and where its chunks are.
//!
//! ```json
//! {"version":1,"entries":[
//!   {"type":"dir","name":"/nix/store/…-x","mode":365,"ModTime":"1970-01-01T00:00:01Z"},
//!   {"type":"reg","name":"/nix/store/…-x/a","mode":292,"size":9,"ModTime":"…","digest":"sha256:…","offset":140,"endOffset":160},
//!   {"type":"reg","name":"/nix/store/…-x/b",…,"chunkSize":5000,"chunkDigest":"sha256:…","offset":180,"digest":"sha256:…"},
//!   {"type":"chunk","name":"/nix/store/…-x/b","offset":2100,"endOffset":2141,"chunkSize":32,"chunkOffset":5000,"chunkDigest":"…"}
//! ],"tarSplitDigest":"sha256:…"}
//! ```
//!
//! Fields are `FileMetadata`'s (containers/container-libs, storage/pkg/chunked/internal/minimal/compression.go). A chunk
//! ends where the file's next one begins, and the last at `endOffset`. Readers since containers/storage 1.48 take field
//! names in any case; older ones, podman 4.3's among them, know times and owners only as `ModTime`, `UID` and `GID`
//! (`unmarshalToc` in pkg/chunked/cache_linux.go of its v1.43.0), so these names are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// A line of the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The path in the layer, as the tar has it.
    pub name: String,
    /// Where a link leads.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link_name: String,
    /// Permission bits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mode: u64,
    /// Bytes of a file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Numeric owner.
    #[serde(default, rename = "UID", alias = "uid", skip_serializing_if = "is_zero")]
    pub uid: u64,
    /// Numeric group.
    #[serde(default, rename = "GID", alias = "gid", skip_serializing_if = "is_zero")]
    pub gid: u64,
    /// Modification time, as RFC 3339 has it.
    #[serde(default, rename = "ModTime", alias = "modtime", skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Time of the last access.
    #[serde(default, rename = "accesstime", skip_serializing_if = "Option::is_none")]
    pub accessed: Option<String>,
    /// Time of the last change of the inode.
    #[serde(default, rename = "changetime", skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// Major number of a device.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dev_major: u64,
    /// Minor number of a device.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dev_minor: u64,
    /// Extended attributes, in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
    /// Of a file's content; empty files have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where its first chunk, or the chunk, begins in the blob.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// Where the file's last chunk ends in the blob.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub end_offset: u64,
    /// Bytes of the chunk, in a file of several.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chunk_size: u64,
    /// Where it begins in the file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chunk_offset: u64,
    /// Of the chunk's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_digest: Option<Digest>,
    /// `zeros` where the chunk is nothing else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chunk_type: String,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Kind {
    #[default]
    Reg,
    Hardlink,
    Char,
    Block,
    Dir,
    Fifo,
    Symlink,
    /// A further chunk of the file before.
    Chunk,
}

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Toc {
    /// 1.
    pub version: u32,
    /// In the tar's order.
    pub entries: Vec<Entry>,
    /// Of the compressed tar-split data.
    #[serde(default)]
    pub tar_split_digest: Option<Digest>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
