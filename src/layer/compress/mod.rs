//! Compressed bytes; one file a format.
//!
//! Output depends on the input alone: block sizes and levels are constants, and
//! which thread compresses a block does not matter.

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

use super::chunked::{ChunkedWriter, Finished, annotation};
use crate::oci::{Descriptor, descriptor::media_type};

/// A way to compress a layer, by the names users give.
///
/// [Example](crate#layer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[serde(alias = "")]
    None,
    /// gzip, which everything reads.
    Gzip,
    /// zstd, smaller and faster.
    Zstd,
    /// zstd that can be pulled in parts: see [`chunked`](super::chunked).
    #[serde(rename = "zstd:chunked")]
    ZstdChunked,
}

impl Compression {
    /// The media type of a layer compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => media_type::LAYER_TAR,
            Self::Gzip => media_type::LAYER_GZIP,
            Self::Zstd | Self::ZstdChunked => media_type::LAYER_ZSTD,
        }
    }

    /// Its name, as users give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::ZstdChunked => "zstd:chunked",
        }
    }

    /// Whether a blob, as an image describes it, is what a layer is compressed to.
    pub fn fits(self, descriptor: &Descriptor) -> bool {
        let has_table = || descriptor.annotations.contains_key(annotation::CHECKSUM);
        descriptor.media_type == self.media_type() && (self != Self::ZstdChunked || has_table())
    }

    /// What follows `.tar` in the name of a file compressed so.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd | Self::ZstdChunked => ".zst",
        }
    }

    /// Compresses what is written to `out`, with this many threads, as hard as
    /// `level` says; without one, as strata always does.
    pub fn writer<W: Write>(self, out: W, threads: usize, level: Option<i32>) -> io::Result<Compressor<W>> {
        Ok(match self {
            Self::None => Compressor::None(out),
            Self::Gzip => Compressor::Gzip(GzipWriter::with_threads(out, threads, level)?),
            Self::Zstd => Compressor::Zstd(ZstdWriter::with_threads(out, threads, level)?),
            Self::ZstdChunked => Compressor::ZstdChunked(Box::new(ChunkedWriter::with_threads(out, threads, level)?)),
        })
    }
}

/// Any of the formats, being written.
pub enum Compressor<W: Write> {
    /// Passes everything on.
    None(W),
    /// gzip.
    Gzip(GzipWriter<W>),
    /// zstd.
    Zstd(ZstdWriter<W>),
    /// zstd:chunked.
    ZstdChunked(Box<ChunkedWriter<W>>),
}

impl<W: Write> Compressor<W> {
    /// Compresses what is left, and gives back the writer underneath and what a descriptor of the blob needs.
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
