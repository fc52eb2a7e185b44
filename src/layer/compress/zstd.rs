//! zstd in parallel: one frame, made by libzstd's own threads.
//!
//! libzstd cuts the input into jobs of a fixed size, so the number of workers
//! does not matter, as long as there is one: without any it takes another path
//! and writes other bytes. [`LEVEL`] and [`JOB`] decide every compressed byte.

use std::io::{self, Write};

use zstd::{stream::write::Encoder, zstd_safe::CParameter};

/// zstd's own default.
const LEVEL: i32 = 3;
/// Input bytes a job.
const JOB: u32 = 4 * 1024 * 1024;

/// Compresses what is written, on all cores.
pub struct ZstdWriter<W: Write>(Encoder<'static, W>);

impl<W: Write> ZstdWriter<W> {
    /// Compresses with `threads` threads (0 is taken as 1); the bytes are the same with any number.
    pub fn with_threads(out: W, threads: usize, level: Option<i32>) -> io::Result<Self> {
        let mut encoder = Encoder::new(out, level.unwrap_or(LEVEL))?;
        encoder.multithread(threads.clamp(1, 64) as u32)?;
        encoder.set_parameter(CParameter::JobSize(JOB))?;
        encoder.include_checksum(true)?;
        Ok(Self(encoder))
    }

    /// Compresses what is left and gives the writer underneath back.
    pub fn finish(self) -> io::Result<W> {
        let mut out = self.0.finish()?;
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write> Write for ZstdWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(bytes: &[u8], threads: usize) -> Vec<u8> {
        let mut writer = ZstdWriter::with_threads(Vec::new(), threads, None).unwrap();
        // Odd pieces: how input arrives must not matter either.
        for piece in bytes.chunks(if threads == 1 { 100_003 } else { 1 << 20 }) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn every_length_comes_back_and_threads_do_not_matter() {
        let job = JOB as usize;
        for length in [0, 1, job - 1, job, job + 1, 3 * job + 17] {
            let bytes: Vec<u8> = (0..length).map(|at| ((at * at) >> 7) as u8).collect();
            let one = compress(&bytes, 1);
            for threads in [2, 8] {
                assert!(compress(&bytes, threads) == one, "{length} bytes, {threads} threads");
            }
            assert!(zstd::decode_all(&one[..]).unwrap() == bytes, "{length}");
        }
    }
}
