//! gzip in parallel: every block of input becomes one gzip member.
//!
//! ```text
//! input   [ block 0 ][ block 1 ][ block 2 ]…      BLOCK bytes each, the last one less
//!              │          │          │             any thread, any order
//! output  [member 0 ][member 1 ][member 2 ]…      in order
//! ```
//!
//! Readers of gzip accept several members (RFC 1952, section 2.2). libdeflate
//! writes no name and no time into headers. [`BLOCK`] and [`LEVEL`] decide
//! every compressed byte: changing one moves digests.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
};

use libdeflater::{CompressionLvl, Compressor};

/// Input bytes a member. Smaller ones compress worse (each starts without
/// history), bigger ones leave cores idle on small layers.
const BLOCK: usize = 1024 * 1024;
/// libdeflate's level whose output is at most 2 % bigger than that of `pigz -6`,
/// at less than a quarter of the time; docs/benchmarks.md has the figures.
const LEVEL: i32 = 3;

type Job = (Vec<u8>, SyncSender<Vec<u8>>);

/// Compresses what is written, on all cores.
pub struct GzipWriter<W> {
    out: W,
    block: Vec<u8>,
    jobs: Option<Sender<Job>>,
    /// Members being made, in order.
    pending: VecDeque<Receiver<Vec<u8>>>,
    workers: Vec<JoinHandle<()>>,
    empty: bool,
}

impl<W: Write> GzipWriter<W> {
    /// Compresses with `threads` threads (0 is taken as 1); the bytes are the same with any number. `level` is
    /// libdeflate's, 0 to 12.
    ///
    /// # Errors
    ///
    /// When there is no such level.
    pub fn with_threads(out: W, threads: usize, level: Option<i32>) -> io::Result<Self> {
        let level = level.unwrap_or(LEVEL);
        let level = CompressionLvl::new(level)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("gzip has no level {level}")))?;
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let worker = |_| {
            let queue = Arc::clone(&queue);
            thread::Builder::new().spawn(move || work(&queue, level))
        };
        Ok(Self {
            out,
            block: Vec::with_capacity(BLOCK),
            jobs: Some(jobs),
            pending: VecDeque::new(),
            workers: (0..threads.max(1)).map(worker).collect::<io::Result<_>>()?,
            empty: true,
        })
    }

    /// Compresses what is left and gives the writer underneath back.
    pub fn finish(mut self) -> io::Result<W> {
        // An empty input is one empty member: an empty file is no gzip file.
        if !self.block.is_empty() || self.empty {
            self.submit()?;
        }
        while !self.pending.is_empty() {
            self.write_first()?;
        }
        drop(self.jobs);
        for worker in self.workers {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn submit(&mut self) -> io::Result<()> {
        self.empty = false;
        // Two blocks a thread keep every thread busy while one is written.
        if self.pending.len() >= 2 * self.workers.len() {
            self.write_first()?;
        }
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let (answer, member) = sync_channel(1);
        let jobs = self.jobs.as_ref().expect("only finish() takes the sender");
        jobs.send((block, answer)).map_err(io::Error::other)?;
        self.pending.push_back(member);
        Ok(())
    }

    fn write_first(&mut self) -> io::Result<()> {
        let first = self.pending.pop_front().expect("callers check that one is pending");
        self.out.write_all(&first.recv().map_err(io::Error::other)?)
    }
}

fn work(queue: &Mutex<Receiver<Job>>, level: CompressionLvl) {
    let mut compressor = Compressor::new(level);
    loop {
        let Ok(job) = queue.lock().map(|queue| queue.recv()) else {
            return;
        };
        let Ok((block, answer)) = job else { return };
        let mut member = vec![0; compressor.gzip_compress_bound(block.len())];
        let size = compressor.gzip_compress(&block, &mut member).expect("the bound is libdeflate's own");
        member.truncate(size);
        // Nobody waits any more when the writer failed.
        let _ = answer.send(member);
    }
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
