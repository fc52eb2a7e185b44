//! gzip in parallel: every block of input becomes one gzip member.
//!
//! ```text
//! input   [ block 0 ][ block 1 ][ block 2 ]…      BLOCK bytes each, the last one less
//!              │          │          │             any thread, any order
//! output  [member 0 ][member 1 ][member 2 ]…      in order
//! ```
//!
//! Readers of gzip accept several members (RFC 1952, section 2.2). libdeflate writes neither names nor times into
//! headers. [`BLOCK`] and [`LEVEL`] determine every compressed byte: changing one of them changes digests.

use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor};

use super::pool::Pool;

/// Input bytes of a member. With smaller blocks the compression is worse, since each starts without history. With
/// larger ones cores are idle for small layers.
const BLOCK: usize = 1024 * 1024;
/// The level of libdeflate whose output is at most 2 % larger than that of `pigz -6`, at less than a quarter of the
/// time. docs/measurements.md has the numbers.
const LEVEL: i32 = 3;

/// Compresses what is written, on all cores.
pub struct GzipWriter<W> {
    out: W,
    block: Vec<u8>,
    members: Pool<Vec<u8>, Vec<u8>>,
    empty: bool,
}

impl<W: Write> GzipWriter<W> {
    /// Compresses with `threads` threads (0 is taken as 1). The bytes are the same for any number. `level` is a level
    /// of libdeflate, 0 to 12.
    ///
    /// # Errors
    ///
    /// If the level does not exist.
    pub fn with_threads(out: W, threads: usize, level: Option<i32>) -> io::Result<Self> {
        let level = level.unwrap_or(LEVEL);
        let level = CompressionLvl::new(level)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("gzip has no level {level}")))?;
        let members = Pool::new(threads, move || {
            let mut compressor = Compressor::new(level);
            Ok(move |block: Vec<u8>| member(&mut compressor, &block))
        })?;
        Ok(Self { out, block: Vec::with_capacity(BLOCK), members, empty: true })
    }

    /// Compresses the remaining bytes and returns the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        // An empty input becomes one empty member, since an empty file is no gzip file.
        if !self.block.is_empty() || self.empty {
            self.submit()?;
        }
        while let Some(member) = self.members.next()? {
            self.out.write_all(&member)?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn submit(&mut self) -> io::Result<()> {
        self.empty = false;
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        while let Some(member) = self.members.make_room()? {
            self.out.write_all(&member)?;
        }
        self.members.submit(block);
        Ok(())
    }
}

fn member(compressor: &mut Compressor, block: &[u8]) -> Vec<u8> {
    let mut member = vec![0; compressor.gzip_compress_bound(block.len())];
    let size = compressor.gzip_compress(block, &mut member).expect("the bound is libdeflate's own");
    member.truncate(size);
    member
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.submit()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn compress(bytes: &[u8], threads: usize) -> Vec<u8> {
        let mut writer = GzipWriter::with_threads(Vec::new(), threads, None).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn every_length_comes_back_and_threads_do_not_matter() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 17] {
            let bytes: Vec<u8> = (0..length).map(|at| ((at * at) >> 7) as u8).collect();
            let one = compress(&bytes, 1);
            for threads in [2, 8] {
                assert!(compress(&bytes, threads) == one, "{length} bytes, {threads} threads");
            }
            let mut read = Vec::new();
            flate2::read::MultiGzDecoder::new(&one[..]).read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{length}");
        }
    }

    #[test]
    fn headers_have_neither_name_nor_time() {
        let bytes = compress(b"x", 1);
        assert_eq!(bytes[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    }
}
