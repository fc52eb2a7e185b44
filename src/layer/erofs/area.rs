//! Writes the blocks of an image in order, and hashes them.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
};

use super::{BLOCK, ErofsFile};
use crate::{
    budget::{self, Budget},
    layer::{unpack::Disk, untar::TarEntry},
    oci::Sha256Writer,
};

/// The size in bytes of the buffer for small files. It does not change digests.
const BUFFER: usize = 256 * 1024;
/// The minimum size in bytes of a file that the kernel copies, which shares its blocks if the file system supports it. It does
/// not change digests.
const COPIED_BY_KERNEL: u64 = 64 * 1024;

/// The data area: a file that grows by whole blocks. The superblock is written last.
pub(super) struct Area<'a> {
    out: BufWriter<&'a ErofsFile<'a>>,
    hash: Sha256Writer<io::Sink>,
    /// The number of written bytes.
    position: u64,
    /// The limit of the image's size. A small layer can have large files, because runs of zeros compress well.
    disk: Disk,
}

impl<'a> Area<'a> {
    /// Creates the area of an empty file, with space for the superblock.
    pub fn new(out: &'a ErofsFile<'a>) -> io::Result<Self> {
        Self::with_disk(out, Disk::default())
    }

    fn with_disk(out: &'a ErofsFile<'a>, disk: Disk) -> io::Result<Self> {
        out.checked(out.file().set_len(BLOCK))?;
        out.checked(out.file().seek(SeekFrom::Start(BLOCK)))?;
        let out = BufWriter::with_capacity(BUFFER, out);
        Ok(Self { out, hash: Sha256Writer::new(io::sink()), position: BLOCK, disk })
    }

    /// Returns the number of the next block.
    ///
    /// # Errors
    ///
    /// If the image would have more blocks than a superblock can count.
    pub fn next_block(&self) -> io::Result<u32> {
        let full = || io::Error::new(io::ErrorKind::FileTooLarge, "the layer is too big for an EROFS image");
        u32::try_from(self.position / BLOCK).map_err(|_| full())
    }

    /// Fills the last block with zeros.
    pub fn end_file(&mut self) -> io::Result<()> {
        let over = self.position % BLOCK;
        if over > 0 { self.zeros(BLOCK - over) } else { Ok(()) }
    }

    /// Appends the content of a file of the tar.
    pub fn append_entry(&mut self, entry: &TarEntry, data: &mut impl Read) -> io::Result<()> {
        match &entry.holes {
            None => self.append(data, entry.size)?,
            Some(sparse) => {
                Budget::new(&budget::SPARSE_FILE).take_bytes(sparse.size)?;
                let mut at = 0;
                for (offset, length) in &sparse.parts {
                    self.zeros(offset - at)?;
                    self.append(data, *length)?;
                    at = offset + length;
                }
                self.zeros(sparse.size - at)?;
            }
        }
        self.end_file()
    }

    fn append(&mut self, data: &mut impl Read, size: u64) -> io::Result<()> {
        match io::copy(&mut data.take(size), self)? {
            copied if copied == size => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(count), self).map(drop)
    }

    /// Returns a reader of `data` that appends the bytes it reads, or only hashes them for [`copy_file`](Self::copy_file).
    pub fn reading<'d>(&'d mut self, data: &'d mut dyn Read, is_copied: bool) -> AppendingReader<'d, 'a> {
        AppendingReader { data, area: self, is_copied }
    }

    /// Appends the first `size` bytes of a file, which are hashed already.
    pub fn copy_file(&mut self, mut file: &File, size: u64) -> io::Result<()> {
        self.out.flush()?;
        let out = *self.out.get_ref();
        out.checked_space(self.disk.add(out.file(), size))?;
        file.rewind()?;
        // The kernel copies from file to file: std::io::copy calls copy_file_range, which shares blocks on btrfs and xfs.
        if out.checked_space(io::copy(&mut file.take(size), &mut out.file()))? != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += size;
        Ok(())
    }

    /// Finishes the image. `superblock` makes the first block from the hash of all other blocks.
    pub fn finish(mut self, superblock: impl FnOnce(Sha256Writer<io::Sink>) -> [u8; BLOCK as usize]) -> io::Result<()> {
        self.out.flush()?;
        let out = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        out.checked(out.file().rewind())?;
        (&mut &*out).write_all(&superblock(self.hash))
    }
}

impl Write for Area<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        let out = *self.out.get_ref();
        out.checked_space(self.disk.add(out.file(), written as u64))?;
        self.hash.write_all(&bytes[..written])?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether the kernel copies a file of this size.
pub(super) fn is_copied(size: u64) -> bool {
    size >= COPIED_BY_KERNEL
}

/// A reader of a file for the tar, which also appends the content to the area.
pub(super) struct AppendingReader<'d, 'a> {
    data: &'d mut dyn Read,
    area: &'d mut Area<'a>,
    is_copied: bool,
}

impl Read for AppendingReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.data.read(buffer)?;
        let bytes = &buffer[..read];
        match self.is_copied {
            true => self.area.hash.write_all(bytes)?,
            false => self.area.write_all(bytes)?,
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        budget::Limits,
        layer::untar::{Sparse, Xattrs},
    };

    #[test]
    fn contents_and_holes_have_a_limit() {
        const LIMITS: Limits = Limits { input: "the unpacked image", bytes: 10_000, parts: 10, part: "files" };
        let holes = |size| TarEntry {
            name: b"file".to_vec(),
            kind: tar::EntryType::GNUSparse,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            link: Vec::new(),
            device: (0, 0),
            xattrs: Xattrs::new(),
            mtime: None,
            position: 0,
            holes: Some(Sparse { size, parts: Vec::new() }),
        };
        let file = tempfile::tempfile().unwrap();
        let image = ErofsFile::new(&file);
        let mut area = Area::with_disk(&image, Disk::new(&LIMITS)).unwrap();
        area.append_entry(&holes(5000), &mut io::empty()).unwrap();
        let error = area.append_entry(&holes(5000), &mut io::empty()).unwrap_err().to_string();
        assert!(error.contains("the unpacked image"), "{error}");
        assert!(
            area.copy_file(&tempfile::tempfile().unwrap(), 5000)
                .unwrap_err()
                .to_string()
                .contains("the unpacked image")
        );
    }
}
