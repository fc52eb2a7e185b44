//! zstd:chunked: layers that a reader can fetch partially, chunk by chunk, and that are ordinary zstd for other readers.
//!
//! ```text
//! [frame: headers][frame: chunk][frame: chunk][frame: padding, headers][frame: chunk]…       the tar
//! [skippable frame: table of contents][skippable frame: tar-split data][skippable frame: footer][skippable frame: old footer]
//! ```
//!
//! The [table of contents](toc) lists the chunks of each file, and their digests. podman, buildah and CRI-O find it through the
//! annotations of the layer's descriptor. Then they fetch the chunks that no image on the machine has, in one request of many
//! ranges. stargz-snapshotter finds the table through the old footer, which are the last bytes of the blob, and fetches the chunks
//! that a container reads. The format is documented in containers/container-libs: storage/docs/containers-storage-zstd-chunked.md,
//! storage/pkg/chunked/compressor/compressor.go and storage/pkg/chunked/internal/minimal/compression.go.
//!
//! The ends of chunks are determined in `boundaries`: at the hashes of store paths, which a rebuild changes.
//!
//! If the format cannot describe a tar (a file that occurs twice, names that are not UTF-8, sparse files, and so on), the layer
//! has the same frames without table and annotations, and is pulled completely.

mod boundaries;
pub(crate) mod check;
mod frames;
mod headers;
mod index;
pub(crate) mod map;
pub(crate) mod read;
#[cfg(test)]
mod tests;
pub(crate) mod toc;
mod writer;

use std::collections::BTreeMap;

pub use headers::Unfit;
pub use writer::ChunkedWriter;

/// Returns the parameters that determine the bytes of a blob, except for the tar and the level. Cached blobs are valid only
/// for the same parameters and the same [`REVISION`].
pub fn parameters() -> String {
    let zstd = zstd::zstd_safe::version_number();
    let version = env!("CARGO_PKG_VERSION");
    let all = format!("{version} {REVISION} {:?} {:?} {zstd}", boundaries::PARAMETERS, frames::PARAMETERS);
    crate::oci::Digest::sha256(all.as_bytes()).hex()[..16].to_owned()
}

/// The revision of the frames after the tar and of the annotations. Revision 2 added the footer and the annotation for
/// stargz-snapshotter.
pub const REVISION: u32 = 2;

/// The size of the largest footer of a blob with a table of contents, that of zstd:chunked. eStargz' has 51 bytes
/// (stargz-snapshotter, docs/estargz.md).
pub const FOOTER_SIZE: usize = 64;

/// Whether these last bytes of a blob are the footer of a table of contents: of zstd:chunked, in the forms of podman and of
/// stargz-snapshotter, or of eStargz, whose footer is an empty gzip member with an extra field.
pub fn has_footer(end: &[u8]) -> bool {
    let magics: [&[u8]; 3] = [index::FOOTER_MAGIC, index::OLD_FOOTER_MAGIC, b"STARGZ"];
    magics.iter().any(|magic| end.windows(magic.len()).any(|window| window == *magic))
}

/// The annotations of a descriptor.
pub type Annotations = BTreeMap<String, String>;

/// The additional fields of the descriptor of a compressed blob.
#[derive(Debug, Default)]
pub struct Finished {
    /// The annotations of the descriptor.
    pub annotations: Annotations,
    /// The reason why a zstd:chunked layer has no table of contents.
    pub unfit: Option<Unfit>,
}

/// The annotations of a layer's descriptor.
pub mod annotation {
    /// The digest of the compressed table.
    pub const CHECKSUM: &str = "io.github.containers.zstd-chunked.manifest-checksum";
    /// The position of the table: offset, length, length before compression, type.
    pub const POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
    /// The position of tar-split's data: offset, length, length before compression.
    pub const TAR_SPLIT: &str = "io.github.containers.zstd-chunked.tarsplit-position";
    /// The same as [`CHECKSUM`], for readers before containers/storage 1.44, such as podman 4.3.
    pub const OLD_CHECKSUM: &str = "io.containers.zstd-chunked.manifest-checksum";
    /// The same as [`POSITION`], for these readers.
    pub const OLD_POSITION: &str = "io.containers.zstd-chunked.manifest-position";

    /// The digest of the table before compression, for lazy pulls (`TOCJSONDigestAnnotation` of stargz-snapshotter,
    /// estargz/types.go).
    pub const LAZY: &str = "containerd.io/snapshot/stargz/toc.digest";

    /// Whether the key is one of these.
    pub fn is_ours(key: &str) -> bool {
        [CHECKSUM, POSITION, TAR_SPLIT, OLD_CHECKSUM, OLD_POSITION, LAZY].contains(&key)
    }

    /// Returns the annotations of a layer that hold for each of its compressed blobs: all but those of a table.
    pub fn of_any_blob(annotations: &super::Annotations) -> super::Annotations {
        annotations.iter().filter(|(key, _)| !is_ours(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Whether a descriptor for partial pulls has the annotation. podman refuses a layer that also has [`LAZY`]
    /// (`getProperDiffer` in containers/container-libs, storage/pkg/chunked/storage_linux.go).
    pub fn is_for_partial_pulls(key: &str) -> bool {
        key != LAZY
    }

    /// Whether a descriptor for lazy pulls has the annotation. The annotations are those that stargz-snapshotter's own converter
    /// writes (nativeconverter/zstdchunked), with which podman 4.3 pulls partially.
    pub fn is_for_lazy_pulls(key: &str) -> bool {
        !is_ours(key) || [LAZY, OLD_CHECKSUM, OLD_POSITION].contains(&key)
    }
}
