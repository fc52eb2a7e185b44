//! zstd in parallel: one frame that libzstd's threads make.
//!
//! libzstd divides the input into jobs of a fixed size. The output is the same for any number of workers except 0, for
//! which libzstd takes another code path. [`LEVEL`] and [`JOB`] determine every compressed byte.
//!
//! The buffers of a stream grow with its workers. All streams of the process therefore share one amount of memory:
//!
//! - A stream of at most [`JOB`] bytes is kept in memory, and one worker compresses it at its end.
//! - A longer stream waits until memory is available, and starts as many workers as that memory suffices for.
//!
//! libzstd can share a pool of threads among streams (`ZSTD_CCtx_refThreadPool`). strata does not use it, because the loop
//! of `ZSTD_compressStream2` (lib/compress/zstd_compress.c) spins while other streams occupy the pool.

use std::{
    io::{self, Write},
    sync::LazyLock,
};

use zstd::{stream::write::Encoder, zstd_safe::CParameter};

use crate::threads::{Turn, Turns, jobs};

/// The default level of zstd.
const LEVEL: i32 = 3;
/// Input bytes of a job.
const JOB: u32 = 4 * 1024 * 1024;

/// The memory of all streams in MiB: docs/limits.md has the formula for the whole process. Does not move a digest.
static MEMORY: LazyLock<Turns> = LazyLock::new(|| Turns::new(memory()));

fn memory() -> u32 {
    56 + 6 * u32::try_from(jobs()).unwrap_or(u32::MAX / 8)
}

/// The memory of a stream in MiB, if it has this many workers (`ZSTDMT_initCStream_internal` in
/// lib/compress/zstdmt_compress.c): an input buffer of three jobs more than there are workers, compressed jobs, which may
/// be as large, and the tables of each worker.
const fn memory_of_workers(workers: u32) -> u32 {
    let job = JOB >> 20;
    job * (workers + 3) + job * (workers + 1) + 2 * workers
}

/// Compresses what is written, on all cores.
pub struct ZstdWriter<W: Write> {
    threads: u32,
    level: i32,
    /// The input, until it has more than [`JOB`] bytes.
    start: Vec<u8>,
    out: Option<W>,
    stream: Option<Stream<W>>,
}

struct Stream<W: Write> {
    encoder: Encoder<'static, W>,
    /// Returned after the encoder.
    _memory: Turn<'static>,
}

impl<W: Write> ZstdWriter<W> {
    /// Compresses with `threads` threads (0 is taken as 1). The bytes are the same for any number.
    pub fn with_threads(out: W, threads: usize, level: Option<i32>) -> io::Result<Self> {
        let threads = threads.clamp(1, 64) as u32;
        Ok(Self { threads, level: level.unwrap_or(LEVEL), start: Vec::new(), out: Some(out), stream: None })
    }

    /// Compresses the remaining bytes and returns the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        let mut out = self.stream()?.encoder.finish()?;
        out.flush()?;
        Ok(out)
    }

    /// Takes the stream, which is begun if the input has at most [`JOB`] bytes.
    fn stream(&mut self) -> io::Result<Stream<W>> {
        if let Some(stream) = self.stream.take() {
            return Ok(stream);
        }
        let is_large = self.start.len() == JOB as usize;
        let memory = if is_large {
            // Another stream finds the other half.
            let most = memory_of_workers(self.threads).min(memory() / 2);
            MEMORY.wait_for_turns(memory_of_workers(1), most.max(memory_of_workers(1)))
        } else {
            let size = 2 + 2 * (self.start.len() >> 20) as u32;
            MEMORY.wait_for_turns(size, size)
        };
        let workers = (1..self.threads).take_while(|more| memory_of_workers(more + 1) <= memory.count()).count() + 1;
        let out = self.out.take().ok_or_else(|| io::Error::other("an earlier write failed"))?;
        let mut encoder = Encoder::new(out, self.level)?;
        encoder.multithread(workers as u32)?;
        encoder.set_parameter(CParameter::JobSize(JOB))?;
        encoder.include_checksum(true)?;
        encoder.write_all(&std::mem::take(&mut self.start))?;
        Ok(Stream { encoder, _memory: memory })
    }
}

impl<W: Write> Write for ZstdWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stream.is_none() {
            let taken = bytes.len().min(JOB as usize - self.start.len());
            if taken > 0 || bytes.is_empty() {
                self.start.extend_from_slice(&bytes[..taken]);
                return Ok(taken);
            }
        }
        let stream = self.stream()?;
        self.stream.insert(stream).encoder.write(bytes)
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
        // Writes of odd sizes check that the output does not depend on the size of writes.
        for piece in bytes.chunks(if threads == 1 { 100_003 } else { 1 << 20 }) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| ((at * at) >> 7) as u8).collect()
    }

    #[test]
    fn every_length_comes_back_and_threads_do_not_matter() {
        let job = JOB as usize;
        for length in [0, 1, job - 1, job, job + 1, 3 * job + 17] {
            let bytes = bytes(length);
            let one = compress(&bytes, 1);
            for threads in [2, 8] {
                assert!(compress(&bytes, threads) == one, "{length} bytes, {threads} threads");
            }
            assert!(zstd::decode_all(&one[..]).unwrap() == bytes, "{length}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_a_stream_that_is_begun_at_once() {
        let job = JOB as usize;
        for length in [0, 1, job - 1, job, job + 1, 2 * job + 17] {
            let bytes = bytes(length);
            let mut encoder = Encoder::new(Vec::new(), LEVEL).unwrap();
            encoder.multithread(2).unwrap();
            encoder.set_parameter(CParameter::JobSize(JOB)).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(&bytes).unwrap();
            assert!(compress(&bytes, 2) == encoder.finish().unwrap(), "{length}");
        }
    }

    #[test]
    fn more_streams_than_memory_suffices_for_take_turns() {
        let bytes = bytes(2 * JOB as usize);
        let one = compress(&bytes, 1);
        let count = 2 * (memory() / memory_of_workers(1)) as usize + 1;
        std::thread::scope(|scope| {
            let streams: Vec<_> = (0..count).map(|_| scope.spawn(|| compress(&bytes, 64) == one)).collect();
            assert!(streams.into_iter().all(|stream| stream.join().unwrap()));
        });
    }
}
