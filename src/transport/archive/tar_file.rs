//! A tar, plain, gzip, zstd or xz, whose entries are read by their place in it.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use crate::{
    layer::{DetectedCompression, explain_full, open_packed},
    threads::lock,
};

/// A tar whose entries are read by their place in it.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    /// The plain tar; one that is compressed is unpacked to a nameless file when its first blob is read.
    plain: Mutex<Option<Arc<File>>>,
}

impl Archive {
    /// The archive at `path`, whose plain tar is this file where one is given.
    pub(crate) fn new(path: PathBuf, plain: Option<Arc<File>>) -> Self {
        Self { path, plain: Mutex::new(plain) }
    }

    /// `size` bytes from `offset` on.
    pub(crate) fn read(&self, offset: u64, size: u64) -> io::Result<Section> {
        // Whoever comes second waits, and unpacks nothing.
        let mut plain = lock(&self.plain);
        let file = match &*plain {
            Some(file) => Arc::clone(file),
            None => Arc::clone(plain.insert(Arc::new(self.unpack()?))),
        };
        Ok(Section { file, at: offset, end: offset.saturating_add(size) })
    }

    fn unpack(&self) -> io::Result<File> {
        let (file, packing) = open_packed(&self.path)?;
        if packing == DetectedCompression::Plain {
            return Ok(file);
        }
        let size = file.metadata()?.len();
        let mut plain = tempfile::tempfile()?;
        io::copy(&mut packing.reader(file, size)?, &mut plain).map_err(explain_full)?;
        Ok(plain)
    }
}

/// A part of a file that others read too.
pub(crate) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..left], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
