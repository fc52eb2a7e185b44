//! Compresses pieces of the tar to zstd frames, on any thread.
//!
//! ```text
//! job    [header header][chunk][chunk][padding header][chunk]…     at least JOB bytes, the last one less
//! frames [    frame    ][frame][frame][     frame    ][frame]…
//! ```
//!
//! A frame does not depend on previous frames, so that a reader can begin at any frame. [`JOB`] determines where runs of headers
//! are split into two frames, and [`LEVEL`] determines all bytes: changing one changes digests.

use std::io;

use crc::{CRC_64_GO_ISO, Crc, Table};
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use super::{boundaries::MOST, toc::TocEntry};
use crate::oci::Digest;

/// The default level of zstd, as in [`ZstdWriter`](crate::layer::compress::ZstdWriter).
const LEVEL: i32 = 3;
/// The number of bytes of the tar that one thread compresses at once.
pub const JOB: usize = 512 * 1024;

/// See [`parameters`](super::parameters).
pub const PARAMETERS: [usize; 2] = [LEVEL as usize, JOB];

/// The checksum of a file in tar-split (`CRCTable` in vbatts/tar-split, tar/storage/getter.go).
pub static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_GO_ISO);

/// A piece of the tar.
pub enum TarPiece {
    /// So many bytes outside of files: padding of the previous file, and headers. The entry is that of the headers.
    Between(usize, Option<Box<TocEntry>>),
    /// So many bytes of a file's content.
    Chunk(usize),
    /// The content of a file that is one chunk.
    Whole(usize),
    /// The end of a file of several chunks, with the digest and CRC of its content.
    End(Digest, u64),
}

/// Consecutive pieces.
pub struct Job {
    /// The bytes of the pieces.
    pub data: Vec<u8>,
    /// The pieces.
    pub parts: Vec<TarPiece>,
    /// An empty buffer for the frames.
    pub packed: Vec<u8>,
}

impl Default for Job {
    fn default() -> Self {
        // A job ends with the chunk that fills it. Pages that it does not use have no memory.
        Self { data: Vec::with_capacity(JOB + MOST), parts: Vec::new(), packed: Vec::new() }
    }
}

/// Compressed pieces.
pub struct CompressedPieces {
    /// The compressed job.
    pub job: Job,
    /// The bytes of the frames.
    pub packed: Vec<u8>,
    /// The sizes and digests of the frames.
    pub frames: Vec<Frame>,
    /// The digest of each chunk, and its CRC if the chunk is a whole file.
    pub hashes: Vec<(Digest, u64)>,
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The number of bytes before compression.
    pub plain: u32,
    /// The number of compressed bytes.
    pub packed: u32,
    /// The start of the digest of a chunk. 0 for bytes between files, which have no digest.
    pub digest: u64,
}

/// Returns the start of a digest, which is sufficient to detect a different chunk.
pub fn short(digest: &Digest) -> u64 {
    digest.as_bytes().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Compresses jobs.
pub struct FrameCompressor {
    compressor: Compressor<'static>,
    frame: Vec<u8>,
}

impl FrameCompressor {
    /// Creates a worker for a compression level.
    pub fn new(level: Option<i32>) -> io::Result<Self> {
        let mut compressor = Compressor::new(level.unwrap_or(LEVEL))?;
        // The table has a digest of each chunk, so that checksums of frames are not needed.
        compressor.set_parameter(CParameter::ChecksumFlag(false))?;
        Ok(Self { compressor, frame: Vec::new() })
    }

    /// Compresses and hashes a job.
    pub fn work(&mut self, mut job: Job) -> io::Result<CompressedPieces> {
        let packed = std::mem::take(&mut job.packed);
        let mut done = CompressedPieces { packed, job, frames: Vec::new(), hashes: Vec::new() };
        let (mut start, mut end) = (0, 0);
        for part in &done.job.parts {
            let &length = match part {
                TarPiece::Between(length, _) => {
                    end += length;
                    continue;
                }
                TarPiece::End(..) => continue,
                TarPiece::Chunk(length) | TarPiece::Whole(length) => length,
            };
            if end > start {
                done.frames.push(self.compress(&done.job.data[start..end], 0, &mut done.packed)?);
            }
            start = end;
            end += length;
            let chunk = &done.job.data[start..end];
            let crc = if matches!(part, TarPiece::Whole(_)) { CRC.checksum(chunk) } else { 0 };
            let digest = Digest::sha256(chunk);
            done.hashes.push((digest, crc));
            done.frames.push(self.compress(chunk, short(&digest), &mut done.packed)?);
            start = end;
        }
        if end > start {
            done.frames.push(self.compress(&done.job.data[start..end], 0, &mut done.packed)?);
        }
        Ok(done)
    }

    /// Appends the frame of `bytes` to `packed`. `digest` is the start of their digest.
    pub fn compress(&mut self, bytes: &[u8], digest: u64, packed: &mut Vec<u8>) -> io::Result<Frame> {
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        let length = self.compressor.compress_to_buffer(bytes, &mut self.frame)?;
        packed.extend_from_slice(&self.frame);
        Ok(Frame { plain: bytes.len() as u32, packed: length as u32, digest })
    }
}
