//! Passes bytes on in chunks, to the same thread or to another.
//!
//! [`Chunks`] receives the full buffers of the tar writer, and returns an empty buffer for each:
//!
//! ```text
//! Direct      writes the chunk and returns the same one
//! Overlapped  sends it to a thread that writes it, and returns one that is written already
//! Both        writes it on this thread, and then continues as Overlapped
//! ChunkReader the other direction: the chunks of a producer, read as a stream
//! ```
//!
//! Reading a file and hashing it therefore overlap without copying bytes. Memory use is [`CHUNK`] × [`DEPTH`] for any
//! amount of data.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

/// Bytes passed to another thread at once. All chunks together fit into the cache of a core; measurements showed that
/// larger ones hash slower. The value does not change digests.
const CHUNK: usize = 64 * 1024;
/// Bytes passed on at once on the same thread. The value does not change digests.
const DIRECT: usize = 128 * 1024;
/// The number of chunks of one stream.
const DEPTH: usize = 8;
/// Written chunks are returned in batches of this size, since waking a thread costs more than filling a chunk.
const BATCH: usize = 4;

/// A buffer that is filled from its start.
#[derive(Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    filled: usize,
}

impl Chunk {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size], filled: 0 }
    }

    /// Returns the filled part.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Returns the free part.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// Marks `more` bytes, which were written to [`room`](Self::room), as filled.
    pub fn grow(&mut self, more: usize) {
        self.filled += more;
    }

    /// Copies as many bytes as fit, and returns their number.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        taken
    }

    fn empty(mut self) -> Self {
        self.filled = 0;
        self
    }
}

/// The receiver of full chunks.
pub trait Chunks {
    /// Whether some bytes may be skipped: see [`skip`](Self::skip).
    const SELECTIVE: bool = false;

    /// Takes the contents of `full`, and returns an empty chunk.
    fn pass(&mut self, full: Chunk) -> io::Result<Chunk>;

    /// Returns the first chunk.
    fn first(&mut self) -> Chunk;

    /// Returns how many of the next `most` bytes are not needed and are not passed. All bytes before them were passed.
    fn skip(&mut self, most: u64) -> u64 {
        let _ = most;
        0
    }
}

/// Data that can be skipped without reading.
pub(super) trait Passable: Read {
    /// Skips the next `bytes`.
    fn pass_over(&mut self, bytes: u64) -> io::Result<()>;
}

impl Passable for File {
    fn pass_over(&mut self, bytes: u64) -> io::Result<()> {
        self.seek(SeekFrom::Current(i64::try_from(bytes).map_err(io::Error::other)?)).map(drop)
    }
}

impl Passable for &mut dyn Read {
    fn pass_over(&mut self, bytes: u64) -> io::Result<()> {
        io::copy(&mut self.take(bytes), &mut io::sink()).map(drop)
    }
}

/// Writes chunks on the thread that made them.
pub struct Direct<W>(pub W);

impl<W: Write> Chunks for Direct<W> {
    fn pass(&mut self, full: Chunk) -> io::Result<Chunk> {
        self.0.write_all(full.filled())?;
        Ok(full.empty())
    }

    fn first(&mut self) -> Chunk {
        Chunk::new(DIRECT)
    }
}

/// The sending end of a channel of full chunks.
pub struct ChunkSender {
    full: SyncSender<Chunk>,
    written: Receiver<Vec<Chunk>>,
    spare: Vec<Chunk>,
}

/// The receiving end of a channel of full chunks.
struct ChunkReceiver {
    full: Receiver<Chunk>,
    written: SyncSender<Vec<Chunk>>,
    batch: Vec<Chunk>,
}

fn channel() -> (ChunkSender, ChunkReceiver) {
    let (send_full, full) = sync_channel(DEPTH);
    let (send_written, written) = sync_channel(DEPTH);
    let spare = (0..DEPTH).map(|_| Chunk::new(CHUNK)).collect();
    let sender = ChunkSender { full: send_full, written, spare };
    let receiver = ChunkReceiver { full, written: send_written, batch: Vec::with_capacity(BATCH) };
    (sender, receiver)
}

impl Chunks for ChunkSender {
    fn pass(&mut self, full: Chunk) -> io::Result<Chunk> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.full.send(full).map_err(|_| gone())?;
        if self.spare.is_empty() {
            self.spare = self.written.recv().map_err(|_| gone())?;
        }
        self.spare.pop().map(Chunk::empty).ok_or_else(gone)
    }

    fn first(&mut self) -> Chunk {
        Chunk::new(CHUNK)
    }
}

impl ChunkReceiver {
    fn next(&mut self) -> Option<Chunk> {
        self.full.recv().ok()
    }

    fn give_back(&mut self, chunk: Chunk) {
        self.batch.push(chunk);
        if self.batch.len() == BATCH {
            // A receiver that has ended needs no more chunks.
            let _ = self.written.send(std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH)));
        }
    }
}

/// Writes chunks on a separate thread.
pub struct Overlapped<W> {
    chunks: ChunkSender,
    /// The thread, or the error of starting it.
    worker: io::Result<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> Overlapped<W> {
    /// Moves `inner` to a new thread.
    pub fn new(mut inner: W) -> Self {
        let (chunks, mut receiver) = channel();
        let worker = thread::Builder::new().spawn(move || {
            while let Some(chunk) = receiver.next() {
                inner.write_all(chunk.filled())?;
                receiver.give_back(chunk);
            }
            Ok(inner)
        });
        Self { chunks, worker }
    }

    /// Waits until everything is written, and returns `inner`.
    ///
    /// # Errors
    ///
    /// The first error of `inner`.
    pub fn finish(self) -> io::Result<W> {
        drop(self.chunks);
        join(self.worker?)
    }
}

impl<W> Chunks for Overlapped<W> {
    fn pass(&mut self, full: Chunk) -> io::Result<Chunk> {
        self.chunks.pass(full)
    }

    fn first(&mut self) -> Chunk {
        self.chunks.first()
    }
}

/// Writes chunks to two writers: on the thread that made them, and on a separate thread.
pub struct Both<A, B> {
    first: A,
    second: Overlapped<B>,
}

impl<A: Write, B: Write + Send + 'static> Both<A, B> {
    /// Moves `second` to a new thread.
    pub fn new(first: A, second: B) -> Self {
        Self { first, second: Overlapped::new(second) }
    }

    /// Waits for both writers as [`Overlapped::finish`], and returns them.
    pub fn finish(self) -> io::Result<(A, B)> {
        Ok((self.first, self.second.finish()?))
    }
}

impl<A: Write, B> Chunks for Both<A, B> {
    fn pass(&mut self, full: Chunk) -> io::Result<Chunk> {
        self.first.write_all(full.filled())?;
        self.second.pass(full)
    }

    fn first(&mut self) -> Chunk {
        self.second.first()
    }
}

/// A `Read` of the chunks of a producer that runs on a separate thread.
///
/// Dropping it early ends the producer at its next chunk.
pub struct ChunkReader {
    receiver: ChunkReceiver,
    chunk: Chunk,
    at: usize,
    /// The thread, or the error of starting it.
    producer: Option<io::Result<JoinHandle<io::Result<()>>>>,
}

impl ChunkReader {
    /// Starts `produce`, which writes to its argument. Its error is the last result of the reader.
    pub fn new(produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Self {
        let (mut sender, receiver) = channel();
        let producer = thread::Builder::new().spawn(move || {
            let chunk = sender.first();
            let mut writer = ChunkWriter { sender, chunk };
            produce(&mut writer)?;
            writer.flush()
        });
        Self { receiver, chunk: Chunk::new(CHUNK), at: 0, producer: Some(producer) }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.filled {
            match self.receiver.next() {
                Some(chunk) => {
                    let read = std::mem::replace(&mut self.chunk, chunk);
                    self.receiver.give_back(read);
                    self.at = 0;
                }
                None => return self.producer.take().map_or(Ok(()), |producer| join(producer?)).map(|()| 0),
            }
        }
        let available = &self.chunk.filled()[self.at..];
        let taken = available.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&available[..taken]);
        self.at += taken;
        Ok(taken)
    }
}

/// Collects the bytes of a producer in chunks.
struct ChunkWriter {
    sender: ChunkSender,
    chunk: Chunk,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.chunk.fill(bytes);
        if self.chunk.room().is_empty() {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.filled > 0 {
            self.chunk = self.sender.pass(std::mem::take(&mut self.chunk))?;
        }
        Ok(())
    }
}

fn join<T>(worker: JoinHandle<io::Result<T>>) -> io::Result<T> {
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `bytes` on in chunks. The last chunk may be partly filled.
    fn pass_all(chunks: &mut impl Chunks, bytes: &[u8]) -> io::Result<()> {
        let mut buffer = chunks.first();
        for part in bytes.chunks(CHUNK) {
            assert_eq!(buffer.fill(part), part.len());
            buffer = chunks.pass(buffer)?;
        }
        Ok(())
    }

    #[test]
    fn bytes_arrive_in_order_at_every_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 23 * CHUNK + 3] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut overlapped = Overlapped::new(Vec::new());
            pass_all(&mut overlapped, &bytes).unwrap();
            assert!(overlapped.finish().unwrap() == bytes, "{length}");

            let copy = bytes.clone();
            let mut read = Vec::new();
            let mut reader = ChunkReader::new(move |out| out.write_all(&copy));
            reader.read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{length}");
        }
    }

    #[test]
    fn the_error_of_the_other_side_arrives() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut overlapped = Overlapped::new(Full);
        let _ = pass_all(&mut overlapped, &vec![0; CHUNK * 40]);
        let error = overlapped.finish().err().expect("the writer is full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);

        let mut reader = ChunkReader::new(|out| {
            out.write_all(b"some")?;
            Err(io::ErrorKind::NotFound.into())
        });
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_reader_dropped_early_ends_its_producer() {
        let (ended, wait) = std::sync::mpsc::channel();
        let mut reader = ChunkReader::new(move |out| {
            let result = std::iter::repeat_with(|| out.write_all(&[0; CHUNK])).find(Result::is_err);
            ended.send(()).unwrap();
            result.expect("an endless iterator")
        });
        reader.read_exact(&mut [0; 10]).unwrap();
        drop(reader);
        wait.recv().unwrap();
    }
}
