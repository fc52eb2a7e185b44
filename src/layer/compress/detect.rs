//! Detects the compression of files by their first bytes, and reads them as a stream.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// The size in bytes that a decompressed file may have beyond [`RATIO`] times its compressed size.
const ALLOWANCE: u64 = 1 << 30;
/// A file that grows by more than this factor is a decompression bomb.
const RATIO: u64 = 200;

/// The compression of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectedCompression {
    /// No compression.
    Plain,
    /// gzip with one or several members.
    Gzip,
    /// zstd, possibly with skippable frames.
    Zstd,
    /// xz.
    Xz,
}

impl DetectedCompression {
    /// The number of first bytes that are needed to detect the compression.
    pub const START: usize = 8;

    /// Detects the compression by the first bytes of a file.
    pub fn detect(start: &[u8]) -> Self {
        if start.starts_with(&GZIP) {
            Self::Gzip
        } else if start.starts_with(&ZSTD) || is_skippable(start) {
            Self::Zstd
        } else if start.starts_with(&XZ) {
            Self::Xz
        } else {
            Self::Plain
        }
    }

    /// Returns the compression of a layer of this media type.
    pub fn from_media_type(media_type: &str) -> Self {
        match media_type {
            kind if kind.ends_with("gzip") => Self::Gzip,
            kind if kind.ends_with("zstd") => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// Decompresses `reader`, whose compressed size is `size` bytes. Errors if the output exceeds the limit of a file
    /// of that size.
    pub fn reader<'a>(self, reader: impl Read + 'a, size: u64) -> io::Result<Box<dyn Read + 'a>> {
        let reader = BufReader::with_capacity(128 * 1024, reader);
        let limit = size.saturating_mul(RATIO).saturating_add(ALLOWANCE);
        Ok(match self {
            Self::Plain => Box::new(reader),
            Self::Gzip => Box::new(Bounded::new(MultiGzDecoder::new(reader), limit)),
            Self::Zstd => Box::new(Bounded::new(zstd::stream::read::Decoder::with_buffer(reader)?, limit)),
            Self::Xz => Box::new(Bounded::new(XzReader::new_mem_limit(reader, true, 128 * 1024), limit)),
        })
    }
}

/// Whether a file begins with one of zstd's skippable frames (RFC 8878, 3.1.2), as containerd's `compression` takes it.
fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Opens a file, and detects its compression.
pub fn open(path: &Path) -> io::Result<(File, DetectedCompression)> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&file).take(8).read_to_end(&mut start)?;
    file.rewind()?;
    Ok((file, DetectedCompression::detect(&start)))
}

/// Errors at the limit, where [`Read::take`] would report the end of the data.
struct Bounded<R> {
    inner: R,
    limit: u64,
    remaining: u64,
}

impl<R> Bounded<R> {
    fn new(inner: R, limit: u64) -> Self {
        Self { inner, limit, remaining: limit }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.remaining = self.remaining.checked_sub(read as u64).ok_or_else(|| {
            let limit = self.limit;
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "it decompresses to more than {limit} bytes ({RATIO} times its size and {ALLOWANCE} bytes), which is the limit"
                ),
            )
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decompression_bombs_are_refused() {
        let mut bomb = Bounded::new(io::repeat(0), 1000);
        let error = io::copy(&mut bomb, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("more than 1000 bytes"), "{error}");
        let mut fits = Bounded::new(io::repeat(0).take(1000), 1000);
        assert_eq!(io::copy(&mut fits, &mut io::sink()).unwrap(), 1000);
    }
}
