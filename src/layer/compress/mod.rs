//! Compression of layers, with one file for each format.
//!
//! The output depends only on the input: block sizes and levels are constants, and it does not matter which thread
//! compresses a block.

pub(crate) mod detect;
mod gzip;
mod pool;
mod zstd;

pub use detect::DetectedCompression;

use std::io::{self, Write};

use serde::Deserialize;

pub use gzip::GzipWriter;
pub(super) use pool::Pool;
pub use zstd::ZstdWriter;

use super::chunked::{Annotations, ChunkedWriter, Finished, annotation};
use crate::oci::{Descriptor, descriptor::media_type};

/// A compression of layers, with the names that users write.
///
/// [Example](crate#layer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// No compression.
    #[serde(alias = "")]
    None,
    /// gzip, which every reader supports.
    Gzip,
    /// zstd, which is smaller and faster.
    Zstd,
    /// zstd for partial pulls: see [`chunked`](super::chunked).
    #[serde(rename = "zstd:chunked")]
    ZstdChunked,
    /// The same blobs, with the annotations for lazy pulls by stargz-snapshotter instead of those for partial pulls.
    #[serde(skip)]
    Lazy,
}

impl Compression {
    /// Returns the media type of a layer with this compression.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => media_type::LAYER_TAR,
            Self::Gzip => media_type::LAYER_GZIP,
            Self::Zstd | Self::ZstdChunked | Self::Lazy => media_type::LAYER_ZSTD,
        }
    }

    /// Returns the name that users write, which is the name of the blobs.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::ZstdChunked | Self::Lazy => "zstd:chunked",
        }
    }

    /// Whether the descriptor of a blob has this compression.
    pub fn fits(self, descriptor: &Descriptor) -> bool {
        let has = |key| descriptor.annotations.contains_key(key);
        let has_table = match self {
            Self::None | Self::Gzip | Self::Zstd => true,
            Self::ZstdChunked => has(annotation::CHECKSUM),
            Self::Lazy => has(annotation::LAZY),
        };
        has_table && descriptor.media_type == self.media_type()
    }

    /// Whether clients find a table of contents in the blobs, which the digest of the tar does not cover.
    pub(crate) fn has_table(self) -> bool {
        matches!(self, Self::ZstdChunked | Self::Lazy)
    }

    /// Returns those annotations of a blob that its descriptor in a manifest has: a table is named for partial pulls or for lazy
    /// pulls.
    pub(crate) fn annotations(self, mut annotations: Annotations) -> Annotations {
        match self {
            Self::None | Self::Gzip | Self::Zstd => {}
            Self::ZstdChunked => annotations.retain(|key, _| annotation::is_for_partial_pulls(key)),
            Self::Lazy => annotations.retain(|key, _| annotation::is_for_lazy_pulls(key)),
        }
        annotations
    }

    /// Returns the annotations of a layer in a manifest after it was compressed: those of the uncompressed layer that are not
    /// about a table, and those of the blob.
    pub(crate) fn annotations_of_layer(self, layer: &Annotations, blob: Annotations) -> Annotations {
        annotation::of_any_blob(layer).into_iter().chain(self.annotations(blob)).collect()
    }

    /// Returns the suffix after `.tar` in the name of a compressed file.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd | Self::ZstdChunked | Self::Lazy => ".zst",
        }
    }

    /// Returns a writer that compresses to `out` with this many threads. Without `level`, it uses the default level of
    /// strata.
    pub fn writer<W: Write>(self, out: W, threads: usize, level: Option<i32>) -> io::Result<Compressor<W>> {
        Ok(match self {
            Self::None => Compressor::None(out),
            Self::Gzip => Compressor::Gzip(GzipWriter::with_threads(out, threads, level)?),
            Self::Zstd => Compressor::Zstd(ZstdWriter::with_threads(out, threads, level)?),
            Self::ZstdChunked | Self::Lazy => {
                Compressor::ZstdChunked(Box::new(ChunkedWriter::with_threads(out, threads, level)?))
            }
        })
    }
}

/// A writer of any of the formats.
pub enum Compressor<W: Write> {
    None(W),
    Gzip(GzipWriter<W>),
    Zstd(ZstdWriter<W>),
    ZstdChunked(Box<ChunkedWriter<W>>),
}

impl<W: Write> Compressor<W> {
    /// Compresses the remaining bytes. Returns the inner writer, and the fields for a descriptor of the blob.
    pub fn finish(self) -> io::Result<(W, Finished)> {
        let out = match self {
            Self::None(out) => out,
            Self::Gzip(gzip) => gzip.finish()?,
            Self::Zstd(zstd) => zstd.finish()?,
            Self::ZstdChunked(chunked) => return chunked.finish(),
        };
        Ok((out, Finished::default()))
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zstd(zstd) => zstd.write(bytes),
            Self::ZstdChunked(chunked) => chunked.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
