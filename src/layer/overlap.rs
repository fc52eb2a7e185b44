//! Two stages at once: one thread makes bytes, another uses them.
//!
//! [`Overlapped`] runs a `Write` on a thread of its own, so that reading a file
//! and hashing it overlap. [`ChunkReader`] runs a producer on a thread of its
//! own and is the `Read` at its other end. Both pass chunks through a bounded
//! channel: memory is [`CHUNK`] × [`DEPTH`], whatever flows.

use std::{
    io::{self, Read, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

/// Bytes handed over at once: enough to make handing over cheap, and small
/// enough for a core's cache. Does not move a digest.
const CHUNK: usize = 256 * 1024;
/// Chunks that may wait.
const DEPTH: usize = 4;

/// Fills chunks and sends them.
struct ChunkWriter {
    sender: SyncSender<Vec<u8>>,
    /// Used chunks come back here.
    spare: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
}

impl ChunkWriter {
    fn send(&mut self) -> io::Result<()> {
        let mut next = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        next.clear();
        let full = std::mem::replace(&mut self.chunk, next);
        self.sender.send(full).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() { Ok(()) } else { self.send() }
    }
}

fn channel() -> (ChunkWriter, Receiver<Vec<u8>>, SyncSender<Vec<u8>>) {
    let (sender, receiver) = sync_channel(DEPTH);
    let (recycle, spare) = sync_channel(DEPTH + 2);
    let chunk = Vec::with_capacity(CHUNK);
    let writer = ChunkWriter { sender, spare, chunk };
    (writer, receiver, recycle)
}

/// A `Write` whose work is done by another thread.
pub struct Overlapped<W> {
    chunks: ChunkWriter,
    worker: JoinHandle<io::Result<W>>,
}

impl<W: Write + Send + 'static> Overlapped<W> {
    /// Moves `inner` to a thread of its own.
    pub fn new(mut inner: W) -> Self {
        let (chunks, receiver, recycle) = channel();
        let worker = thread::spawn(move || {
            for chunk in receiver {
                inner.write_all(&chunk)?;
                // Nobody waits for spare chunks; a full channel drops this one.
                let _ = recycle.try_send(chunk);
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
    pub fn finish(mut self) -> io::Result<W> {
        let flushed = self.chunks.flush();
        drop(self.chunks);
        let inner = join(self.worker)?;
        flushed.map(|()| inner)
    }
}

impl<W> Write for Overlapped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunks.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.chunks.flush()
    }
}

/// A `Read` of what a producer, on a thread of its own, writes.
///
/// Dropping it early ends the producer at its next write.
pub struct ChunkReader {
    receiver: Receiver<Vec<u8>>,
    recycle: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    producer: Option<JoinHandle<io::Result<()>>>,
}

impl ChunkReader {
    /// Starts `produce`, which writes to what it is given; its error is the
    /// reader's last answer.
    pub fn new(produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Self {
        let (mut writer, receiver, recycle) = channel();
        let producer = thread::spawn(move || {
            produce(&mut writer)?;
            writer.flush()
        });
        Self { receiver, recycle, chunk: Vec::new(), at: 0, producer: Some(producer) }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => {
                    let _ = self.recycle.try_send(std::mem::replace(&mut self.chunk, chunk));
                    self.at = 0;
                }
                Err(_) => return self.producer.take().map_or(Ok(()), join).map(|()| 0),
            }
        }
        let available = &self.chunk[self.at..];
        let taken = available.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&available[..taken]);
        self.at += taken;
        Ok(taken)
    }
}

fn join<T>(worker: JoinHandle<io::Result<T>>) -> io::Result<T> {
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_at_every_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 11 * CHUNK + 3] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut overlapped = Overlapped::new(Vec::new());
            overlapped.write_all(&bytes).unwrap();
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
        let _ = overlapped.write_all(&vec![0; CHUNK * 20]);
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
