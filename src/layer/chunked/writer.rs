//! Converts a tar, which arrives in pieces of any size, to a zstd:chunked blob.

use std::io::{self, Write};

use super::{
    Annotations, Finished,
    boundaries::{self, Cutter},
    frames::{self, CompressedPieces, Frame, FrameCompressor, JOB, Job, TarPiece},
    headers::{BLOCK, HeaderResult, Headers, Unfit},
    index::{FrameIndex, Trouble},
    map::FrameMap,
    toc::TocEntry,
};
use crate::{layer::compress::Pool, oci::Sha256Writer};

/// The size in bytes of the pieces in which bytes outside of known entries are compressed. Changing it changes digests.
const PIECE: usize = 1024 * 1024;

/// Compresses the written bytes on all cores.
pub struct ChunkedWriter<W> {
    out: W,
    pool: Pool<Job, io::Result<CompressedPieces>>,
    job: Job,
    /// The index, or the reason why the tar has no table.
    index: Result<FrameIndex, Unfit>,
    headers: Headers,
    state: WriterState,
    /// The bytes of the current piece: headers since the last content, or content that is not cut yet.
    piece: Vec<u8>,
    is_empty: bool,
    /// An empty job with buffers for reuse, since new memory costs more time than compression.
    spare: Option<Job>,
    frames: Vec<Frame>,
}

enum WriterState {
    /// A header block, which ends when the piece has so many bytes.
    Header(usize),
    /// The data of an extension, with its start and end in the piece, and the end of its padding.
    Extension { start: usize, end: usize, padded: usize },
    /// A file's content.
    Content(ReceivedContent),
    /// Zeros up to the end.
    After,
    /// The rest of a tar without a table.
    Opaque,
}

/// A file's content that is being received.
struct ReceivedContent {
    /// The number of bytes that have not arrived.
    left: u64,
    /// The number of bytes of padding after the content.
    padding: usize,
    cutter: Cutter,
    /// The number of bytes of the piece that are cut.
    cut: usize,
    /// The hashes of a file with several chunks.
    hashes: Option<(Sha256Writer<io::Sink>, crc::Digest<'static, u64, crc::Table<16>>)>,
}

impl<W: Write> ChunkedWriter<W> {
    /// Compresses with `threads` threads, at least one. The bytes do not depend on their number.
    pub fn with_threads(out: W, threads: usize, level: Option<i32>) -> io::Result<Self> {
        let pool = Pool::new(threads, move || {
            let mut worker = FrameCompressor::new(level)?;
            Ok(move |job: Job| worker.work(job))
        })?;
        Ok(Self {
            out,
            pool,
            job: Job::default(),
            index: Ok(FrameIndex::new()?),
            headers: Headers::default(),
            state: WriterState::Header(BLOCK),
            piece: Vec::new(),
            is_empty: true,
            spare: None,
            frames: Vec::new(),
        })
    }

    /// Describes devices and pipes too, as the tables of other writers do. Partial pulls leave such files out, so this is for
    /// comparisons only.
    pub fn describing_devices(mut self) -> Self {
        self.headers.describes_devices = true;
        self
    }

    /// Compresses the rest. Returns the inner writer, and the additional fields of the layer's descriptor.
    pub fn finish(self) -> io::Result<(W, Finished)> {
        let (out, annotations, map) = self.finish_with_map()?;
        Ok((out, Finished { annotations, unfit: map.unfit }))
    }

    /// The same as [`finish`](Self::finish), and returns the positions of all frames in the blob.
    pub fn finish_with_map(mut self) -> io::Result<(W, Annotations, FrameMap)> {
        if !matches!(self.state, WriterState::After) {
            self.give_up(Unfit::new("no end"))?;
        }
        self.between(None)?;
        if self.is_empty && self.job.parts.is_empty() {
            self.job.parts.push(TarPiece::Chunk(0));
        }
        self.submit()?;
        while let Some(done) = self.pool.next()? {
            self.take(done?)?;
        }
        let finished = self.index.map_err(Trouble::Unfit).and_then(FrameIndex::finish);
        let ((end, annotations), unfit) = match finished {
            Ok(finished) => (finished, None),
            Err(Trouble::Write(error)) => return Err(error),
            Err(Trouble::Unfit(unfit)) => (Default::default(), Some(unfit)),
        };
        self.out.write_all(&end)?;
        self.out.flush()?;
        Ok((self.out, annotations, FrameMap { frames: self.frames, end, unfit }))
    }

    /// Consumes at least one of `bytes`. Returns the number.
    fn advance(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = match &self.state {
            WriterState::Header(end) => end - self.piece.len(),
            WriterState::Extension { padded, .. } => padded - self.piece.len(),
            WriterState::Content(content) => usize::try_from(content.left).unwrap_or(usize::MAX).min(PIECE),
            WriterState::After | WriterState::Opaque => PIECE - self.piece.len(),
        };
        let bytes = &bytes[..bytes.len().min(room)];
        if matches!(self.state, WriterState::After) && bytes.iter().any(|&byte| byte != 0) {
            self.give_up(Unfit::new("bytes after its end"))?;
        }
        self.piece.extend_from_slice(bytes);
        let full = bytes.len() == room;
        match &mut self.state {
            WriterState::Content(content) => {
                content.left -= bytes.len() as u64;
                self.cut()?;
            }
            WriterState::After | WriterState::Opaque if self.piece.len() >= PIECE => self.between(None)?,
            WriterState::Header(_) | WriterState::Extension { .. } if full => match self.header() {
                Ok(()) => {}
                Err(Trouble::Write(error)) => return Err(error),
                Err(Trouble::Unfit(unfit)) => self.give_up(unfit)?,
            },
            _ => {}
        }
        Ok(bytes.len())
    }

    /// Reads the complete header block or extension.
    fn header(&mut self) -> Result<(), Trouble> {
        let end = match self.state {
            WriterState::Extension { start, end, padded } => {
                self.headers.extension(&self.piece[start..end])?;
                self.state = WriterState::Header(padded + BLOCK);
                return Ok(());
            }
            WriterState::Header(end) => end,
            _ => return Ok(()),
        };
        let block = self.piece[end - BLOCK..end].try_into().map_err(|_| Unfit::new("an incomplete header"))?;
        match self.headers.block(block)? {
            HeaderResult::End => {
                self.between(None)?;
                self.state = WriterState::After;
            }
            HeaderResult::Extension(length) => {
                let length = usize::try_from(length).map_err(|_| Unfit::new("an extended header of such a size"))?;
                self.state = WriterState::Extension {
                    start: end,
                    end: end + length,
                    padded: end + length.next_multiple_of(BLOCK),
                };
                if length == 0 {
                    self.header()?;
                }
            }
            HeaderResult::Entry(entry) => {
                let size = entry.size;
                self.between(Some(entry))?;
                let padding = (size.next_multiple_of(BLOCK as u64) - size) as usize;
                self.state = match size {
                    0 => WriterState::Header(BLOCK),
                    left => WriterState::Content(ReceivedContent {
                        left,
                        padding,
                        cutter: Cutter::new(),
                        cut: 0,
                        hashes: None,
                    }),
                };
            }
        }
        Ok(())
    }

    /// Cuts the received content. The ends of chunks depend only on the content.
    fn cut(&mut self) -> io::Result<()> {
        loop {
            let WriterState::Content(content) = &mut self.state else { return Ok(()) };
            let rest = &self.piece[content.cut..];
            let window = &rest[..rest.len().min(boundaries::MOST + boundaries::AHEAD)];
            let is_all = content.left == 0 && window.len() == rest.len();
            if !is_all && window.len() < boundaries::MOST + boundaries::AHEAD {
                // Bytes are not removed at every cut, because the following ones are moved each time.
                if content.cut > 2 * boundaries::MOST {
                    self.piece.drain(..content.cut);
                    content.cut = 0;
                }
                return Ok(());
            }
            let length = content.cutter.cut(window, is_all);
            let chunk = &window[..length];
            let is_last = is_all && length == rest.len();
            self.job.data.extend_from_slice(chunk);
            if is_last && content.hashes.is_none() {
                self.job.parts.push(TarPiece::Whole(length));
            } else {
                let hashes =
                    content.hashes.get_or_insert_with(|| (Sha256Writer::new(io::sink()), frames::CRC.digest()));
                hashes.0.write_all(chunk)?;
                hashes.1.update(chunk);
                self.job.parts.push(TarPiece::Chunk(length));
            }
            content.cut += length;
            if is_last {
                let padding = content.padding;
                if let Some((sha256, crc)) = content.hashes.take() {
                    self.job.parts.push(TarPiece::End(sha256.finish().1, crc.finalize()));
                }
                self.piece.clear();
                self.state = WriterState::Header(padding + BLOCK);
                return self.submit_if_full();
            }
            self.submit_if_full()?;
        }
    }

    /// Writes the rest without a table.
    fn give_up(&mut self, unfit: Unfit) -> io::Result<()> {
        // The first reason is kept.
        if self.index.is_ok() {
            self.index = Err(unfit);
        }
        if let WriterState::Content(content) = &self.state {
            self.piece.drain(..content.cut);
        }
        self.state = WriterState::Opaque;
        self.between(None)
    }

    /// Sends a piece that is not a file's content, and is followed by this entry.
    fn between(&mut self, entry: Option<Box<TocEntry>>) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.job.data.extend_from_slice(&self.piece);
            self.job.parts.push(TarPiece::Between(self.piece.len(), entry));
            self.piece.clear();
        }
        self.submit_if_full()
    }

    fn submit_if_full(&mut self) -> io::Result<()> {
        if self.job.data.len() >= JOB { self.submit() } else { Ok(()) }
    }

    fn submit(&mut self) -> io::Result<()> {
        if self.job.parts.is_empty() {
            return Ok(());
        }
        self.is_empty = false;
        while let Some(done) = self.pool.make_room()? {
            self.take(done?)?;
        }
        let next = self.spare.take().unwrap_or_default();
        self.pool.submit(std::mem::replace(&mut self.job, next));
        Ok(())
    }

    fn take(&mut self, done: CompressedPieces) -> io::Result<()> {
        match self.index.as_mut().map(|index| index.add(&done)) {
            Ok(Err(Trouble::Write(error))) => return Err(error),
            Ok(Err(Trouble::Unfit(unfit))) => self.index = Err(unfit),
            Ok(Ok(())) | Err(_) => {}
        }
        self.out.write_all(&done.packed)?;
        self.frames.extend_from_slice(&done.frames);
        let CompressedPieces { job: Job { mut data, mut parts, .. }, mut packed, .. } = done;
        // Every layer has a spare job, so that large ones would need much memory.
        self.spare = (data.len() <= 2 * JOB).then(|| {
            data.clear();
            parts.clear();
            packed.clear();
            Job { data, parts, packed }
        });
        Ok(())
    }
}

impl<W: Write> Write for ChunkedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() { Ok(0) } else { self.advance(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
