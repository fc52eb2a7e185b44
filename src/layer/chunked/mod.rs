//! zstd:chunked: layers that a reader can fetch in parts, chunk by chunk, and that are ordinary zstd for all others.
//!
//! ```text
//! [frame: headers][frame: chunk][frame: chunk][frame: padding, headers][frame: chunk]…       the tar
//! [skippable frame: table of contents][skippable frame: tar-split data][skippable frame: footer]
//! ```
//!
//! The [table of contents](toc) says which chunks each file has, and their digests. podman, buildah and CRI-O read it first,
//! through the annotations of the layer's descriptor, and then fetch the chunks that no image on the machine has, in one
//! request of many ranges. The format is documented in containers/container-libs: storage/docs/
//! containers-storage-zstd-chunked.md, storage/pkg/chunked/compressor/compressor.go and
//! storage/pkg/chunked/internal/minimal/compression.go.
//!
//! Where chunks end is decided in `cut`: at the hashes of store paths, which are what a rebuild changes.
//!
//! A tar that the format cannot describe (one file twice, names that are not UTF-8, sparse files, and the like) becomes
//! the same frames without table and annotations, and is pulled whole.

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

/// What decides the bytes of a blob besides the tar and the level: what is kept of one version is of no use to another.
pub fn parameters() -> String {
    let zstd = zstd::zstd_safe::version_number();
    let all = format!("{} {:?} {:?} {zstd}", env!("CARGO_PKG_VERSION"), boundaries::PARAMETERS, frames::PARAMETERS);
    crate::oci::Digest::of(all.as_bytes()).hex()[..16].to_owned()
}

/// Whether these are the last bytes of a blob that has a table of contents.
pub fn is_footer(end: &[u8]) -> bool {
    end.ends_with(index::FOOTER_MAGIC)
}

/// What a descriptor says besides type, digest and size.
pub type Annotations = BTreeMap<String, String>;

/// What the descriptor of a compressed blob has besides type, digest and size.
#[derive(Debug, Default)]
pub struct Finished {
    /// Its annotations.
    pub annotations: Annotations,
    /// Why a zstd:chunked layer has no table of contents.
    pub unfit: Option<Unfit>,
}

/// The annotations of a layer's descriptor.
pub mod annotation {
    /// Digest of the compressed table.
    pub const CHECKSUM: &str = "io.github.containers.zstd-chunked.manifest-checksum";
    /// Where the table is: offset, length, length before compression, type.
    pub const POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
    /// Where tar-split's data is: offset, length, length before compression.
    pub const TAR_SPLIT: &str = "io.github.containers.zstd-chunked.tarsplit-position";
    /// As [`CHECKSUM`], for readers before containers/storage 1.44, podman 4.3's among them.
    pub const OLD_CHECKSUM: &str = "io.containers.zstd-chunked.manifest-checksum";
    /// As [`POSITION`], for the same.
    pub const OLD_POSITION: &str = "io.containers.zstd-chunked.manifest-position";

    /// Whether it is one of these.
    pub fn is_ours(key: &str) -> bool {
        [CHECKSUM, POSITION, TAR_SPLIT, OLD_CHECKSUM, OLD_POSITION].contains(&key)
    }
}
