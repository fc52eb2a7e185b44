//! A tar (uncompressed, gzip, zstd or xz) whose entries are read by their position.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::unix::fs::FileExt,
    sync::{Arc, Mutex},
};

use crate::{
    layer::{self, DetectedCompression},
    threads::lock,
};

#[derive(Debug)]
pub struct Archive(Mutex<TarFileContent>);

#[derive(Debug)]
enum TarFileContent {
    Plain(Arc<File>),
    /// A compressed tar, which is unpacked to a nameless file when its first blob is read.
    Compressed(File, DetectedCompression),
}

impl Archive {
    pub(crate) fn new(file: File, compression: DetectedCompression) -> Self {
        Self(Mutex::new(match compression {
            DetectedCompression::Plain => TarFileContent::Plain(Arc::new(file)),
            _ => TarFileContent::Compressed(file, compression),
        }))
    }

    /// Returns `size` bytes from `offset` on.
    pub(crate) fn read(&self, offset: u64, size: u64) -> io::Result<Section> {
        // A second reader waits here, and finds the unpacked file.
        let mut content = lock(&self.0);
        let file = match &mut *content {
            TarFileContent::Plain(file) => Arc::clone(file),
            TarFileContent::Compressed(file, compression) => {
                file.rewind()?;
                let unpacked = Arc::new(unpack(file, *compression)?);
                *content = TarFileContent::Plain(Arc::clone(&unpacked));
                unpacked
            }
        };
        Ok(Section { file, at: offset, end: offset.saturating_add(size) })
    }
}

/// Decompresses a tar to a nameless file.
pub(super) fn unpack(file: &File, compression: DetectedCompression) -> io::Result<File> {
    let size = file.metadata()?.len();
    layer::spool(compression.reader(file, size)?)
}

/// A part of a file that has other readers, too.
pub(crate) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let remaining = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..remaining], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
