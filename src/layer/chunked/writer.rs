//! A tar goes in, in pieces of any size, and a zstd:chunked blob comes out.

use std::io::{self, Write};

use super::{
    Annotations, Finished,
    boundaries::{self, Cutter},
    frames::{self, Done, Frame, JOB, Job, Part, Worker},
    headers::{BLOCK, Found, Headers, Unfit},
    index::{Index, Trouble},
    map::Map,
    toc::Entry,
};
use crate::{layer::compress::Pool, oci::Sha256Writer};

/// Bytes that belong to no known entry are passed on this many at once. Moves digests.
const PIECE: usize = 1024 * 1024;

/// Compresses what is written, on all cores.
pub struct ChunkedWriter<W> {
    out: W,
    pool: Pool<Job, io::Result<Done>>,
    job: Job,
    /// An error once the tar turned out to be one that has no table.
    index: Result<Index, Unfit>,
    headers: Headers,
    state: State,
    /// Bytes of the current piece: headers since the last content, or content that is not cut yet.
    piece: Vec<u8>,
    is_empty: bool,
    /// Empty jobs, whose buffers are used again: memory that is fresh costs more than compressing into it.
    spare: Vec<Job>,
    frames: Vec<Frame>,
}

enum State {
    /// A header block ends when the piece has this many bytes.
    Header(usize),
    /// The data of an extension begins and ends here in the piece, and its padding ends there.
    Extension { start: usize, end: usize, padded: usize },
    /// A file's content.
    Content(Content),
    /// Zeros up to the end.
    After,
    /// Anything, in a tar without a table.
    Opaque,
}

/// A file's content, on its way.
struct Content {
    /// Bytes of it that have not arrived.
    left: u64,
    /// Bytes of padding that follow it.
    padding: usize,
    cutter: Cutter,
    /// Bytes of the piece that are cut.
    cut: usize,
    /// Of a file of several chunks.
    hashes: Option<(Sha256Writer<io::Sink>, crc::Digest<'static, u64, crc::Table<16>>)>,
}

impl<W: Write> ChunkedWriter<W> {
    /// Compresses with `threads` threads (0 is taken as 1); the bytes are the same with any number.
    pub fn with_threads(out: W, threads: usize, level: Option<i32>) -> io::Result<Self> {
        let pool = Pool::new(threads, move || {
            let mut worker = Worker::new(level)?;
            Ok(move |job: Job| worker.work(job))
        })?;
        Ok(Self {
            out,
            pool,
            job: Job::default(),
            index: Ok(Index::new()?),
            headers: Headers::default(),
            state: State::Header(BLOCK),
            piece: Vec::new(),
            is_empty: true,
            spare: Vec::new(),
            frames: Vec::new(),
        })
    }

    /// Compresses what is left, and gives back the writer underneath and what the layer's descriptor needs.
    pub fn finish(self) -> io::Result<(W, Finished)> {
        let (out, annotations, map) = self.finish_with_map()?;
        Ok((out, Finished { annotations, unfit: map.unfit }))
    }

    /// As [`finish`](Self::finish), and says where everything is in the blob.
    pub fn finish_with_map(mut self) -> io::Result<(W, Annotations, Map)> {
        if !matches!(self.state, State::After) {
            self.give_up(Unfit::new("no end"))?;
        }
        self.between(None)?;
        if self.is_empty && self.job.parts.is_empty() {
            self.job.parts.push(Part::Chunk(0));
        }
        self.submit()?;
        while let Some(done) = self.pool.next()? {
            self.take(done?)?;
        }
        let finished = self.index.map_err(Trouble::Unfit).and_then(Index::finish);
        let ((end, annotations), unfit) = match finished {
            Ok(finished) => (finished, None),
            Err(Trouble::Write(error)) => return Err(error),
            Err(Trouble::Unfit(unfit)) => (Default::default(), Some(unfit)),
        };
        self.out.write_all(&end)?;
        self.out.flush()?;
        Ok((self.out, annotations, Map { frames: self.frames, end, unfit }))
    }

    /// Takes some of `bytes`, at least one; how many.
    fn advance(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = match &self.state {
            State::Header(end) => end - self.piece.len(),
            State::Extension { padded, .. } => padded - self.piece.len(),
            State::Content(content) => usize::try_from(content.left).unwrap_or(usize::MAX).min(PIECE),
            State::After | State::Opaque => PIECE - self.piece.len(),
        };
        let bytes = &bytes[..bytes.len().min(room)];
        if matches!(self.state, State::After) && bytes.iter().any(|&byte| byte != 0) {
            self.give_up(Unfit::new("bytes after its end"))?;
        }
        self.piece.extend_from_slice(bytes);
        let full = bytes.len() == room;
        match &mut self.state {
            State::Content(content) => {
                content.left -= bytes.len() as u64;
                self.cut()?;
            }
            State::After | State::Opaque if self.piece.len() >= PIECE => self.between(None)?,
            State::Header(_) | State::Extension { .. } if full => match self.header() {
                Ok(()) => {}
                Err(Trouble::Write(error)) => return Err(error),
                Err(Trouble::Unfit(unfit)) => self.give_up(unfit)?,
            },
            _ => {}
        }
        Ok(bytes.len())
    }

    /// Reads the header block, or the extension, that is complete now.
    fn header(&mut self) -> Result<(), Trouble> {
        let end = match self.state {
            State::Extension { start, end, padded } => {
                self.headers.extension(&self.piece[start..end])?;
                self.state = State::Header(padded + BLOCK);
                return Ok(());
            }
            State::Header(end) => end,
            _ => return Ok(()),
        };
        let block = self.piece[end - BLOCK..end].try_into().map_err(|_| Unfit::new("an incomplete header"))?;
        match self.headers.block(block)? {
            Found::End => {
                self.between(None)?;
                self.state = State::After;
            }
            Found::Extension(length) => {
                let length = usize::try_from(length).map_err(|_| Unfit::new("an extended header of such a size"))?;
                self.state =
                    State::Extension { start: end, end: end + length, padded: end + length.next_multiple_of(BLOCK) };
                if length == 0 {
                    self.header()?;
                }
            }
            Found::Entry(entry) => {
                let size = entry.size;
                self.between(Some(entry))?;
                let padding = (size.next_multiple_of(BLOCK as u64) - size) as usize;
                self.state = match size {
                    0 => State::Header(BLOCK),
                    left => State::Content(Content { left, padding, cutter: Cutter::new(), cut: 0, hashes: None }),
                };
            }
        }
        Ok(())
    }

    /// Cuts what is known of the content: chunks end where the content says, however it arrives.
    fn cut(&mut self) -> io::Result<()> {
        loop {
            let State::Content(content) = &mut self.state else { return Ok(()) };
            let rest = &self.piece[content.cut..];
            let window = &rest[..rest.len().min(boundaries::MOST + boundaries::AHEAD)];
            let is_all = content.left == 0 && window.len() == rest.len();
            if !is_all && window.len() < boundaries::MOST + boundaries::AHEAD {
                // Not at every cut: what is behind would be moved each time.
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
                self.job.parts.push(Part::Whole(length));
            } else {
                let hashes =
                    content.hashes.get_or_insert_with(|| (Sha256Writer::new(io::sink()), frames::CRC.digest()));
                hashes.0.write_all(chunk)?;
                hashes.1.update(chunk);
                self.job.parts.push(Part::Chunk(length));
            }
            content.cut += length;
            if is_last {
                let padding = content.padding;
                if let Some((sha256, crc)) = content.hashes.take() {
                    self.job.parts.push(Part::End(sha256.finish().1, crc.finalize()));
                }
                self.piece.clear();
                self.state = State::Header(padding + BLOCK);
                return self.submit_if_full();
            }
            self.submit_if_full()?;
        }
    }

    /// The rest has no table.
    fn give_up(&mut self, unfit: Unfit) -> io::Result<()> {
        // The first reason stays.
        if self.index.is_ok() {
            self.index = Err(unfit);
        }
        if let State::Content(content) = &self.state {
            self.piece.drain(..content.cut);
        }
        self.state = State::Opaque;
        self.between(None)
    }

    /// The piece is no file's content, and leads to this entry.
    fn between(&mut self, entry: Option<Box<Entry>>) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.job.data.extend_from_slice(&self.piece);
            self.job.parts.push(Part::Between(self.piece.len(), entry));
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
        let next = self.spare.pop().unwrap_or_default();
        let job = std::mem::replace(&mut self.job, next);
        match self.pool.submit(job)? {
            Some(done) => self.take(done?),
            None => Ok(()),
        }
    }

    fn take(&mut self, done: Done) -> io::Result<()> {
        match self.index.as_mut().map(|index| index.add(&done)) {
            Ok(Err(Trouble::Write(error))) => return Err(error),
            Ok(Err(Trouble::Unfit(unfit))) => self.index = Err(unfit),
            Ok(Ok(())) | Err(_) => {}
        }
        self.out.write_all(&done.packed)?;
        self.frames.extend_from_slice(&done.frames);
        let Done { job: Job { mut data, mut parts, .. }, mut packed, .. } = done;
        data.clear();
        parts.clear();
        packed.clear();
        self.spare.push(Job { data, parts, packed });
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
