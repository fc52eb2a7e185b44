//! Pieces of the tar become zstd frames, on any thread.
//!
//! ```text
//! job    [header header][chunk][chunk][padding header][chunk]…     at least JOB bytes, the last one less
//! frames [    frame    ][frame][frame][     frame    ][frame]…
//! ```
//!
//! A frame knows nothing of those before it, so a reader can begin at any. [`JOB`] decides where runs of headers are
//! torn into two frames, and [`LEVEL`] every byte: changing one moves digests.

use std::io;

use crc::{CRC_64_GO_ISO, Crc, Table};
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use super::toc::Entry;
use crate::oci::Digest;

/// zstd's own default, as of [`ZstdWriter`](crate::layer::compress::ZstdWriter).
const LEVEL: i32 = 3;
/// Bytes of tar that one thread compresses at once.
pub const JOB: usize = 512 * 1024;

/// See [`parameters`](super::parameters).
pub const PARAMETERS: [usize; 2] = [LEVEL as usize, JOB];

/// What tar-split keeps of a file's content (`CRCTable` in vbatts/tar-split, tar/storage/getter.go).
pub static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_GO_ISO);

/// A piece of the tar.
pub enum Part {
    /// Bytes of no file, this many: padding of the file before, and headers; then the entry that they lead to.
    Between(usize, Option<Box<Entry>>),
    /// This many bytes of a file's content.
    Chunk(usize),
    /// All of a file's content, in one chunk.
    Whole(usize),
    /// The end of a file of several chunks, and the digest and CRC of its content.
    End(Digest, u64),
}

/// Pieces that follow each other.
#[derive(Default)]
pub struct Job {
    /// Their bytes.
    pub data: Vec<u8>,
    /// The pieces.
    pub parts: Vec<Part>,
    /// An empty buffer for the frames.
    pub packed: Vec<u8>,
}

/// Pieces, compressed.
pub struct Done {
    /// What the job was.
    pub job: Job,
    /// Its frames.
    pub packed: Vec<u8>,
    /// Where each is.
    pub frames: Vec<Frame>,
    /// What each chunk has: its digest, and its CRC where it is a whole file.
    pub hashes: Vec<(Digest, u64)>,
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes before compression.
    pub plain: u32,
    /// Its bytes.
    pub packed: u32,
    /// The start of the digest of a chunk; 0 of what is between files, and has none.
    pub digest: u64,
}

/// The start of a digest: enough to tell that a chunk is another.
pub fn short(digest: &Digest) -> u64 {
    digest.as_bytes().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Does jobs.
pub struct Worker {
    compressor: Compressor<'static>,
    frame: Vec<u8>,
}

impl Worker {
    /// One that compresses as hard as `level` says.
    pub fn new(level: Option<i32>) -> io::Result<Self> {
        let mut compressor = Compressor::new(level.unwrap_or(LEVEL))?;
        // The table has a digest of each chunk; a checksum in each frame would only be longer.
        compressor.set_parameter(CParameter::ChecksumFlag(false))?;
        Ok(Self { compressor, frame: Vec::new() })
    }

    /// Compresses and hashes.
    pub fn work(&mut self, mut job: Job) -> io::Result<Done> {
        let packed = std::mem::take(&mut job.packed);
        let mut done = Done { packed, job, frames: Vec::new(), hashes: Vec::new() };
        let (mut start, mut end) = (0, 0);
        for part in &done.job.parts {
            let &length = match part {
                Part::Between(length, _) => {
                    end += length;
                    continue;
                }
                Part::End(..) => continue,
                Part::Chunk(length) | Part::Whole(length) => length,
            };
            if end > start {
                done.frames.push(self.compress(&done.job.data[start..end], 0, &mut done.packed)?);
            }
            start = end;
            end += length;
            let chunk = &done.job.data[start..end];
            let crc = if matches!(part, Part::Whole(_)) { CRC.checksum(chunk) } else { 0 };
            let digest = Digest::of(chunk);
            done.hashes.push((digest, crc));
            done.frames.push(self.compress(chunk, short(&digest), &mut done.packed)?);
            start = end;
        }
        if end > start {
            done.frames.push(self.compress(&done.job.data[start..end], 0, &mut done.packed)?);
        }
        Ok(done)
    }

    /// Appends the frame of `bytes`, whose digest begins so, to `packed`.
    pub fn compress(&mut self, bytes: &[u8], digest: u64, packed: &mut Vec<u8>) -> io::Result<Frame> {
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        let length = self.compressor.compress_to_buffer(bytes, &mut self.frame)?;
        packed.extend_from_slice(&self.frame);
        Ok(Frame { plain: bytes.len() as u32, packed: length as u32, digest })
    }
}
