//! Bytes handed on in chunks, to the same thread or to another.
//!
//! [`Chunks`] is where the tar writer's buffers go when they are full. To go on
//! it needs an empty one, and gets it back:
//!
//! ```text
//! Direct      write the chunk, give the same one back
//! Overlapped  send it to a thread that writes it, give one back that is written already
//! Both        write it here, and then as Overlapped does
//! ChunkReader the other way round: a producer's chunks, read as a stream
//! ```
//!
//! So reading a file and hashing it overlap, and no byte is copied for it.
//! Memory is [`CHUNK`] × [`DEPTH`], whatever flows.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

/// Bytes handed to another thread at once. All chunks together fit into a
/// core's cache; bigger ones hash slower, measured. Does not move a digest.
const CHUNK: usize = 64 * 1024;
/// Bytes handed on at once on the same thread. Does not move a digest.
const DIRECT: usize = 128 * 1024;
/// Chunks there are for one stream.
const DEPTH: usize = 8;
/// Written chunks are given back this many at a time: waking a thread costs
/// more than filling a chunk.
const BATCH: usize = 4;

/// A buffer, filled from its start on.
#[derive(Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    filled: usize,
}

impl Chunk {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size], filled: 0 }
    }

    /// What it holds.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Where more goes.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// Counts `more` bytes, written to [`room`](Self::room), as filled.
    pub fn grow(&mut self, more: usize) {
        self.filled += more;
    }

    /// Takes as many bytes as fit, and says how many.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
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

/// Where full chunks go.
pub trait Chunks {
    /// Whether some bytes may be passed over: see [`skip`](Self::skip).
    const SELECTIVE: bool = false;

    /// Takes what `full` holds, and gives an empty chunk back.
    fn pass(&mut self, full: Chunk) -> io::Result<Chunk>;

    /// The first chunk.
    fn first(&mut self) -> Chunk;

    /// How many of the next `most` bytes are not wanted: they are not passed. All before them were.
    fn skip(&mut self, most: u64) -> u64 {
        let _ = most;
        0
    }
}

/// Data of which some need not be read.
pub(super) trait Passable: Read {
    /// Goes on behind the next `bytes`.
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

/// The end of a channel that full chunks go into.
pub struct ChunkSender {
    full: SyncSender<Chunk>,
    written: Receiver<Vec<Chunk>>,
    spare: Vec<Chunk>,
}

/// The end of a channel that full chunks come out of.
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
            // A sender that has ended needs no more chunks.
            let _ = self.written.send(std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH)));
        }
    }
}

/// Writes chunks on a thread of its own.
pub struct Overlapped<W> {
    chunks: ChunkSender,
    /// Or why there is none.
    worker: io::Result<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> Overlapped<W> {
    /// Moves `inner` to a thread of its own.
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

    /// Waits until everything is written and gives `inner` back.
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

/// Writes chunks on the thread that made them, and on a thread of its own too.
pub struct Both<A, B> {
    here: A,
    there: Overlapped<B>,
}

impl<A: Write, B: Write + Send + 'static> Both<A, B> {
    /// Moves `there` to a thread of its own.
    pub fn new(here: A, there: B) -> Self {
        Self { here, there: Overlapped::new(there) }
    }

    /// As [`Overlapped::finish`]; gives both back.
    pub fn finish(self) -> io::Result<(A, B)> {
        Ok((self.here, self.there.finish()?))
    }
}

impl<A: Write, B> Chunks for Both<A, B> {
    fn pass(&mut self, full: Chunk) -> io::Result<Chunk> {
        self.here.write_all(full.filled())?;
        self.there.pass(full)
    }

    fn first(&mut self) -> Chunk {
        self.there.first()
    }
}

/// A `Read` of what a producer, on a thread of its own, passes on.
///
/// Dropping it early ends the producer at its next chunk.
pub struct ChunkReader {
    receiver: ChunkReceiver,
    chunk: Chunk,
    at: usize,
    /// Or why there is none.
    producer: Option<io::Result<JoinHandle<io::Result<()>>>>,
}

impl ChunkReader {
    /// Starts `produce`, which writes to what it is given; its error is the
    /// reader's last answer.
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

/// Gathers what a producer writes.
struct ChunkWriter {
    sender: ChunkSender,
    chunk: Chunk,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.chunk.take(bytes);
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

    /// Passes `bytes` on in chunks, the last one less than full.
    fn pass_all(chunks: &mut impl Chunks, bytes: &[u8]) -> io::Result<()> {
        let mut buffer = chunks.first();
        for part in bytes.chunks(CHUNK) {
            assert_eq!(buffer.take(part), part.len());
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
