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
//! chunk ends where the file's next chunk begins, and the last one at `endOffset`. Older readers, such as podman 4.3, accept times
//! and owners only as `ModTime`, `UID` and `GID` (`unmarshalToc` in pkg/chunked/cache_linux.go of containers/storage 1.43.0).
//! Therefore these names are written.
//!
//! Readers accept field names in any case: containers/storage since 1.48, and stargz-snapshotter, whose `encoding/json` uses the
//! last field that matches. Two names that differ in case only are therefore refused, since readers could see another table.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::oci::Digest;

/// An entry of the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TocEntry {
    /// The type of the entry.
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// The path in the layer, as in the tar.
    pub name: String,
    /// The target of a link.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        rename(serialize = "linkName", deserialize = "linkname")
    )]
    pub link_name: String,
    /// The permission bits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mode: u64,
    /// The size of a file in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// The numeric owner.
    #[serde(default, skip_serializing_if = "is_zero", rename(serialize = "UID", deserialize = "uid"))]
    pub uid: u64,
    /// The numeric group.
    #[serde(default, skip_serializing_if = "is_zero", rename(serialize = "GID", deserialize = "gid"))]
    pub gid: u64,
    /// The modification time in the form of RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none", rename(serialize = "ModTime", deserialize = "modtime"))]
    pub modified: Option<String>,
    /// The time of the last access.
    #[serde(default, rename = "accesstime", skip_serializing_if = "Option::is_none")]
    pub accessed: Option<String>,
    /// The time of the last change of the inode.
    #[serde(default, rename = "changetime", skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// The major number of a device.
    #[serde(default, skip_serializing_if = "is_zero", rename(serialize = "devMajor", deserialize = "devmajor"))]
    pub dev_major: u64,
    /// The minor number of a device.
    #[serde(default, skip_serializing_if = "is_zero", rename(serialize = "devMinor", deserialize = "devminor"))]
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
    #[serde(default, skip_serializing_if = "is_zero", rename(serialize = "endOffset", deserialize = "endoffset"))]
    pub end_offset: u64,
    /// The size of the chunk in bytes, if the file has several.
    #[serde(default, skip_serializing_if = "is_zero", rename(serialize = "chunkSize", deserialize = "chunksize"))]
    pub chunk_size: u64,
    /// The start of the chunk in the file.
    #[serde(default, skip_serializing_if = "is_zero", rename(serialize = "chunkOffset", deserialize = "chunkoffset"))]
    pub chunk_offset: u64,
    /// The digest of the chunk's content.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        rename(serialize = "chunkDigest", deserialize = "chunkdigest")
    )]
    pub chunk_digest: Option<Digest>,
    /// `zeros` for a chunk of zeros.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        rename(serialize = "chunkType", deserialize = "chunktype")
    )]
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
pub struct Toc {
    /// The version, which is 1.
    pub version: u32,
    /// The entries, in the order of the tar.
    #[serde(deserialize_with = "entries")]
    pub entries: Vec<TocEntry>,
    /// The digest of the compressed tar-split data.
    #[serde(default, rename = "tarsplitdigest")]
    pub tar_split_digest: Option<Digest>,
}

impl Toc {
    /// Parses the JSON of a table.
    ///
    /// # Errors
    ///
    /// If it is malformed, or two field names of an object are equal without case.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json).map(|AnyCase(table)| table)
    }
}

fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TocEntry>, D::Error> {
    let entries = Vec::<AnyCase<TocEntry>>::deserialize(deserializer)?;
    Ok(entries.into_iter().map(|AnyCase(entry)| entry).collect())
}

/// A value whose fields, in JSON, have names in any case. Those of its `Deserialize` are in lower case.
struct AnyCase<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AnyCase<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(LowerCase(map)))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// An object whose field names are changed to lower case. A field that is known twice is an error of `Deserialize`.
struct LowerCase<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for LowerCase<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.0.next_key::<String>()? else { return Ok(None) };
        // For `encoding/json`, the Kelvin sign is a K, and the long s an s.
        if !name.is_ascii() {
            return Err(de::Error::custom(format_args!("the field name {name:?} is not ASCII")));
        }
        seed.deserialize(name.to_ascii_lowercase().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
