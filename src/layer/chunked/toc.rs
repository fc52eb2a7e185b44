//! The table of contents: the metadata of all files in the layer, and the positions of their chunks.
//!
//! ```json
//! {"version":1,"entries":[
//!   {"type":"dir","name":"/nix/store/…-x","mode":365,"ModTime":"1970-01-01T00:00:01Z"},
//!   {"type":"reg","name":"/nix/store/…-x/a","mode":292,"size":9,"ModTime":"…","digest":"sha256:…","offset":140,"endOffset":160,"chunkDigest":"sha256:…"},
//!   {"type":"reg","name":"/nix/store/…-x/b",…,"chunkSize":5000,"chunkDigest":"sha256:…","offset":180,"digest":"sha256:…"},
//!   {"type":"chunk","name":"/nix/store/…-x/b","offset":2100,"endOffset":2141,"chunkSize":32,"chunkOffset":5000,"chunkDigest":"…"}
//! ],"tarSplitDigest":"sha256:…"}
//! ```
//!
//! The fields are those of `FileMetadata` (containers/container-libs, storage/pkg/chunked/internal/minimal/compression.go). A
//! chunk ends where the file's next chunk begins, and the last one at `endOffset`. Readers since containers/storage 1.48 accept
//! field names in any case. Older readers, such as podman 4.3, accept times and owners only as `ModTime`, `UID` and `GID`
//! (`unmarshalToc` in pkg/chunked/cache_linux.go of its v1.43.0). Therefore these names are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// An entry of the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TocEntry {
    /// The type of the entry.
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// The path in the layer, as in the tar.
    pub name: String,
    /// The target of a link.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link_name: String,
    /// The permission bits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mode: u64,
    /// The size of a file in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// The numeric owner.
    #[serde(default, rename = "UID", alias = "uid", skip_serializing_if = "is_zero")]
    pub uid: u64,
    /// The numeric group.
    #[serde(default, rename = "GID", alias = "gid", skip_serializing_if = "is_zero")]
    pub gid: u64,
    /// The modification time in the form of RFC 3339.
    #[serde(default, rename = "ModTime", alias = "modtime", skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// The time of the last access.
    #[serde(default, rename = "accesstime", skip_serializing_if = "Option::is_none")]
    pub accessed: Option<String>,
    /// The time of the last change of the inode.
    #[serde(default, rename = "changetime", skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// The major number of a device.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dev_major: u64,
    /// The minor number of a device.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dev_minor: u64,
    /// The extended attributes, in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
    /// The digest of a file's content. Empty files have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The start of the first chunk of a file, or of the chunk, in the blob.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// The end of the file's last chunk in the blob.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub end_offset: u64,
    /// The size of the chunk in bytes, if the file has several.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chunk_size: u64,
    /// The start of the chunk in the file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chunk_offset: u64,
    /// The digest of the chunk's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_digest: Option<Digest>,
    /// `zeros` for a chunk of zeros.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chunk_type: String,
}

/// The type of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum EntryKind {
    #[default]
    Reg,
    Hardlink,
    Char,
    Block,
    Dir,
    Fifo,
    Symlink,
    /// Another chunk of the previous file.
    Chunk,
}

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Toc {
    /// The version, which is 1.
    pub version: u32,
    /// The entries, in the order of the tar.
    pub entries: Vec<TocEntry>,
    /// The digest of the compressed tar-split data.
    #[serde(default)]
    pub tar_split_digest: Option<Digest>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
