//! The contents of an archive: documents are kept in memory, and blobs are located in the file.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Read},
};

use serde::de::DeserializeOwned;

use super::tar_file::Archive;
use crate::{
    budget::{self, Budget, NAME_OVERHEAD},
    image::{OpenError, Store, store::read_document},
    layer::DetectedCompression,
    oci::{Descriptor, Digest, Sha256Writer, json},
};

/// All files of an archive, by name: `index.json`, `blobs/sha256/…`.
#[derive(Debug)]
pub struct ArchiveContents {
    archive: Archive,
    /// Small JSON files, in order of their names.
    documents: BTreeMap<String, Vec<u8>>,
    /// The remaining memory for documents. A document that does not fit is read again when it is needed.
    kept: Budget,
    names: Budget,
    /// All files.
    blobs: BTreeMap<String, ArchiveBlob>,
    /// Names of links, with the names of their targets.
    aliases: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArchiveBlob {
    pub size: u64,
    /// The position of the first byte in the uncompressed archive.
    pub offset: u64,
}

impl ArchiveContents {
    pub(crate) fn new(archive: Archive) -> Self {
        Self {
            archive,
            documents: BTreeMap::new(),
            kept: Budget::new(&budget::ARCHIVE_DOCUMENTS),
            names: Budget::new(&budget::ARCHIVE_NAMES),
            blobs: BTreeMap::new(),
            aliases: BTreeMap::new(),
        }
    }

    /// Adds a file, and keeps its bytes if it is a document.
    pub(crate) fn add(&mut self, name: String, blob: ArchiveBlob, reader: &mut dyn Read) -> io::Result<()> {
        if self.blobs.contains_key(&name) || self.aliases.contains_key(&name) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it occurs twice"));
        }
        self.names.take(2 * name.len() + NAME_OVERHEAD)?;
        let mut start = Vec::new();
        reader.take(blob.size.min(512)).read_to_end(&mut start)?;
        let is_document =
            blob.size <= budget::DOCUMENT.bytes && matches!(start.trim_ascii_start().first(), Some(b'{' | b'['));
        if is_document && self.kept.take_if_room(blob.size) {
            reader.take(blob.size - start.len() as u64).read_to_end(&mut start)?;
            self.documents.insert(name.clone(), start);
        }
        self.blobs.insert(name, blob);
        Ok(())
    }

    /// Records that `name` is another name of `target`.
    pub(crate) fn alias(&mut self, name: String, target: String) -> io::Result<()> {
        self.names.take(name.len() + target.len() + NAME_OVERHEAD)?;
        self.aliases.entry(name).or_insert(target);
        Ok(())
    }

    /// Returns the bytes of a document that is kept in memory.
    pub(crate) fn raw(&self, name: &str) -> Option<&[u8]> {
        self.documents.get(name).or_else(|| self.documents.get(self.aliases.get(name)?)).map(Vec::as_slice)
    }

    pub(crate) fn blob(&self, name: &str) -> Option<ArchiveBlob> {
        self.blobs.get(name).or_else(|| self.blobs.get(self.aliases.get(name)?)).copied()
    }

    pub(crate) fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        if let Some(bytes) = self.raw(name) {
            return Ok(Box::new(io::Cursor::new(bytes.to_vec())));
        }
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is missing"));
        let ArchiveBlob { size, offset } = self.blob(name).ok_or_else(missing)?;
        Ok(Box::new(self.archive.read(offset, size)?))
    }

    /// Returns the bytes of a document. A document that is not kept in memory is read again.
    pub(crate) fn text(&self, name: &str) -> Result<Cow<'_, [u8]>, OpenError> {
        let fail = |why: String| OpenError::Document { document: name.to_owned(), why };
        if let Some(kept) = self.raw(name) {
            return Ok(kept.into());
        }
        let size = self.blob(name).ok_or_else(|| fail("it is missing".to_owned()))?.size;
        let read = self.open(name).and_then(|reader| read_document(reader, size));
        read.map(Cow::Owned).map_err(|error| fail(error.to_string()))
    }

    pub(crate) fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T, OpenError> {
        let fail = |error: serde_json::Error| OpenError::Document { document: name.to_owned(), why: error.to_string() };
        json::from_slice(&self.text(name)?).map_err(fail)
    }
}

impl Store for ArchiveContents {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        let name = digest.blob_name();
        self.blob(&name).map(|_| ArchiveContents::open(self, &name)).transpose()
    }

    fn has(&self, digest: &Digest) -> io::Result<bool> {
        Ok(self.blob(&digest.blob_name()).is_some())
    }

    fn manifest(&self, descriptor: &Descriptor) -> io::Result<Option<Vec<u8>>> {
        let name = descriptor.digest.blob_name();
        if self.blob(&name).is_none() {
            return Ok(None);
        }
        read_document(ArchiveContents::open(self, &name)?, descriptor.size).map(Some)
    }

    fn list(&self) -> io::Result<Vec<Digest>> {
        let digest = |name: &String| name.strip_prefix("blobs/")?.replacen('/', ":", 1).parse().ok();
        Ok(self.blobs.keys().filter_map(digest).collect())
    }
}

/// Returns the digests of `start` and the rest of `reader`, together `size` bytes, as they are and decompressed.
pub(crate) fn digests(start: &[u8], reader: &mut dyn Read, size: u64) -> io::Result<(Digest, Digest)> {
    let mut raw = HashedReader { inner: start.chain(reader), out: Sha256Writer::new(io::sink()) };
    let mut plain = Sha256Writer::new(io::sink());
    {
        let mut packed = DetectedCompression::detect(start).reader(&mut raw, size)?;
        io::copy(&mut packed, &mut plain)?;
    }
    io::copy(&mut raw, &mut io::sink())?;
    Ok((raw.out.finish().1, plain.finish().1))
}

/// Hashes the bytes that are read through it.
struct HashedReader<R> {
    inner: R,
    out: Sha256Writer<io::Sink>,
}

impl<R: Read> Read for HashedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        io::Write::write_all(&mut self.out, &buffer[..read])?;
        Ok(read)
    }
}
