//! Compressed bytes; one file a format.
//!
//! Output depends on the input alone: block sizes and levels are constants, and
//! which thread compresses a block does not matter.

mod gzip;
mod zstd;

use std::io::{self, Write};

use serde::Deserialize;

pub use gzip::GzipWriter;
pub use zstd::ZstdWriter;

use crate::oci::media_type;

/// A way to compress a layer, by the names users give.
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
}

impl Compression {
    /// The media type of a layer compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => media_type::LAYER_TAR,
            Self::Gzip => media_type::LAYER_GZIP,
            Self::Zstd => media_type::LAYER_ZSTD,
        }
    }

    /// Its name, as users give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What follows `.tar` in the name of a file compressed so.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// Compresses what is written to `out`, with this many threads, as hard as
    /// `level` says; without one, as strata always does.
    pub fn writer<W: Write>(self, out: W, threads: usize, level: Option<i32>) -> io::Result<Compressor<W>> {
        Ok(match self {
            Self::None => Compressor::None(out),
            Self::Gzip => Compressor::Gzip(GzipWriter::with_threads(out, threads, level)?),
            Self::Zstd => Compressor::Zstd(ZstdWriter::with_threads(out, threads, level)?),
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
}

impl<W: Write> Compressor<W> {
    /// Compresses what is left and gives the writer underneath back.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(out) => Ok(out),
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) => zstd.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zstd(zstd) => zstd.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
