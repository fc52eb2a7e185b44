//! The tar format of layers.
//!
//! The bytes are those of Go's `archive/tar`, and therefore those of nix2container: USTAR if an entry fits into it,
//! else a PAX extended header before the entry.
//!
//! ```text
//! [PAX header "dir/PaxHeaders.0/name"][records "LEN key=value\n"]   only when USTAR does not fit
//! [header][data, filled up to 512 bytes]                             for each entry
//! [1024 zero bytes]                                                  at the end
//! ```
//!
//! [`super::header`] decides when a PAX header is needed, and has the fields of headers.

use std::{io::Write, path::Path};

use super::{
    LayerError, Result,
    chunks::{Chunk, Chunks, Direct, Passable},
    header::{BLOCK, Header, pax_block, split_name},
    node::{NodeContent, TreeEntry},
};

/// Writes entries one after the other. [`finish`](Self::finish) ends the archive.
pub struct TarWriter<C> {
    chunks: C,
    chunk: Chunk,
    /// Bytes since the last header, which determine the padding.
    data: u64,
    /// Whether the names of a tree's entries are relative: `./bin`, as `tar -C DIR .` writes them.
    relative: bool,
}

impl<W: Write> TarWriter<Direct<W>> {
    /// Starts an archive that is written to `out`.
    pub fn new(out: W) -> Self {
        Self::with_chunks(Direct(out))
    }

    /// Ends the archive and returns the inner writer after a flush.
    pub fn finish(self) -> Result<W> {
        self.end_with(|Direct(mut out)| out.flush().map(|()| out))
    }
}

impl<C: Chunks> TarWriter<C> {
    /// Starts an archive that is passed on in chunks.
    pub fn with_chunks(mut chunks: C) -> Self {
        let chunk = chunks.first();
        Self { chunks, chunk, data: 0, relative: false }
    }

    /// Makes the names of a tree's entries relative: `./bin`, as in the output of `tar -C DIR .`.
    #[must_use]
    pub fn relative(self) -> Self {
        Self { relative: true, ..self }
    }

    /// Ends the archive, and then the receiver of its chunks. The error of the receiver is returned first, since it is the
    /// reason why a chunk was refused.
    pub(super) fn end_with<T>(mut self, finish: impl FnOnce(C) -> std::io::Result<T>) -> Result<T> {
        let ended = self.put(&[0; 2 * BLOCK]).and_then(|()| self.pass());
        let finished = finish(self.chunks).map_err(LayerError::Write)?;
        ended.map(|()| finished)
    }

    /// Returns the receiver of the chunks, after an error.
    pub(super) fn abandon(self) -> C {
        self.chunks
    }

    /// Appends one entry of a tree, with its data.
    pub(super) fn append(&mut self, entry: TreeEntry<'_>) -> Result<()> {
        use tar::EntryType::{Directory, Regular, Symlink};
        let TreeEntry { name, source, attributes, mtime, content } = entry;
        let relative = if self.relative { [b".", name].concat() } else { Vec::new() };
        let name = if self.relative { relative.as_slice() } else { name };
        let header = |kind, size, link| Header { mtime, ..Header::new(name, kind, size, link, attributes) };
        match content {
            NodeContent::Directory => self.header(&header(Directory, 0, &[])),
            NodeContent::Symlink(target) => self.header(&Header { link: &target, ..header(Symlink, 0, &[]) }),
            NodeContent::Special(kind, device) => self.header(&Header { device, ..header(kind, 0, &[]) }),
            NodeContent::File(file, size) => {
                self.header(&header(Regular, size, &[]))?;
                self.file(file, size, source)?;
                self.pad()
            }
            NodeContent::Data(data, size) => {
                self.header(&header(Regular, size, &[]))?;
                self.file(data, size, source)?;
                self.pad()
            }
        }
    }

    /// Appends a header and the `header.size` bytes of data that `produce` writes.
    ///
    /// # Errors
    ///
    /// The error of the producer, and [`LayerError::Write`] if it writes more or fewer bytes than the header has.
    pub fn append_with<E: From<LayerError>>(
        &mut self,
        header: &Header<'_>,
        produce: impl FnOnce(&mut dyn Write) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.header(header)?;
        produce(&mut DataWriter(self))?;
        if self.data != header.size {
            let name = String::from_utf8_lossy(header.name);
            let text = format!("{name} has {} bytes, but {} in its header", self.data, header.size);
            return Err(LayerError::Write(std::io::Error::other(text)).into());
        }
        Ok(self.pad()?)
    }

    fn header(&mut self, header: &Header<'_>) -> Result<()> {
        let block = if header.fits_ustar() {
            let (prefix, name) = split_name(header.name).unwrap_or((&[], header.name));
            header.block(prefix, name)
        } else {
            let records = header.pax_records();
            self.put(pax_block(header.name, records.len() as u64).as_bytes())?;
            self.data = 0;
            self.put(&records)?;
            self.pad()?;
            header.block(&[], header.name)
        };
        self.put(block.as_bytes())?;
        self.data = 0;
        Ok(())
    }

    /// Reads exactly `size` bytes of `file` into the chunk, without a copy.
    fn file(&mut self, mut file: impl Passable, size: u64, path: &Path) -> Result<()> {
        let mut remaining = size;
        while remaining > 0 {
            if C::SELECTIVE {
                self.pass()?;
                let unwanted = self.chunks.skip(remaining);
                if unwanted > 0 {
                    file.pass_over(unwanted).map_err(LayerError::io("reading", path))?;
                    remaining -= unwanted;
                    continue;
                }
            }
            let room = self.room()?;
            let most = usize::try_from(remaining).unwrap_or(usize::MAX).min(room.len());
            match file.read(&mut room[..most]) {
                Ok(0) => {
                    return Err(LayerError::Changed { path: path.to_owned(), expected: size, read: size - remaining });
                }
                Ok(read) => {
                    self.chunk.grow(read);
                    remaining -= read as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LayerError::io("reading", path)(error)),
            }
        }
        self.data += size;
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.data += bytes.len() as u64;
        while !bytes.is_empty() {
            self.room()?;
            bytes = &bytes[self.chunk.fill(bytes)..];
        }
        Ok(())
    }

    fn pad(&mut self) -> Result<()> {
        let over = (self.data % BLOCK as u64) as usize;
        if over > 0 { self.put(&[0; BLOCK][over..]) } else { Ok(()) }
    }

    /// Returns the free part of the chunk, which has at least one byte.
    fn room(&mut self) -> Result<&mut [u8]> {
        if self.chunk.room().is_empty() {
            self.pass()?;
        }
        Ok(self.chunk.room())
    }

    fn pass(&mut self) -> Result<()> {
        self.chunk = self.chunks.pass(std::mem::take(&mut self.chunk)).map_err(LayerError::Write)?;
        Ok(())
    }
}

/// Writes the data of an entry.
struct DataWriter<'a, C>(&'a mut TarWriter<C>);

impl<C: Chunks> Write for DataWriter<'_, C> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.put(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(LayerError::Write(error)) => Err(error),
            Err(error) => Err(std::io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
