//! What an archive holds: documents, kept, and blobs, found again when they are needed.

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

/// Everything in an archive, by name: `index.json`, `blobs/sha256/…`.
#[derive(Debug)]
pub struct Contents {
    archive: Archive,
    /// JSON files that are small, in order of their names.
    documents: BTreeMap<String, Vec<u8>>,
    /// For documents that are kept; what does not fit is read again when it is needed.
    kept: Budget,
    names: Budget,
    /// Every file.
    blobs: BTreeMap<String, Blob>,
    /// Names that stand for others.
    aliases: BTreeMap<String, String>,
}

/// A file of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// Bytes.
    pub size: u64,
    /// The first byte's place in the plain archive.
    pub offset: u64,
}

impl Contents {
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

    /// Takes one file in: keeps it if it is a document.
    pub(crate) fn add(&mut self, name: String, blob: Blob, reader: &mut dyn Read) -> io::Result<()> {
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

    /// Takes note that `name` stands for `target`.
    pub(crate) fn alias(&mut self, name: String, target: String) -> io::Result<()> {
        self.names.take(name.len() + target.len() + NAME_OVERHEAD)?;
        self.aliases.entry(name).or_insert(target);
        Ok(())
    }

    /// A document's bytes, where it is one.
    pub(crate) fn raw(&self, name: &str) -> Option<&[u8]> {
        self.documents.get(name).or_else(|| self.documents.get(self.aliases.get(name)?)).map(Vec::as_slice)
    }

    /// The blob of this name.
    pub(crate) fn blob(&self, name: &str) -> Option<Blob> {
        self.blobs.get(name).or_else(|| self.blobs.get(self.aliases.get(name)?)).copied()
    }

    /// Opens the blob of this name.
    pub(crate) fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        if let Some(bytes) = self.raw(name) {
            return Ok(Box::new(io::Cursor::new(bytes.to_vec())));
        }
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is missing"));
        let Blob { size, offset } = self.blob(name).ok_or_else(missing)?;
        Ok(Box::new(self.archive.read(offset, size)?))
    }

    /// A document's bytes: kept, or where there was no room for them read again.
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

impl Store for Contents {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        let name = digest.blob_name();
        self.blob(&name).map(|_| Contents::open(self, &name)).transpose()
    }

    fn has(&self, digest: &Digest) -> io::Result<bool> {
        Ok(self.blob(&digest.blob_name()).is_some())
    }

    fn manifest(&self, descriptor: &Descriptor) -> io::Result<Option<Vec<u8>>> {
        let name = descriptor.digest.blob_name();
        if self.blob(&name).is_none() {
            return Ok(None);
        }
        read_document(Contents::open(self, &name)?, descriptor.size).map(Some)
    }

    fn list(&self) -> io::Result<Vec<Digest>> {
        let digest = |name: &String| name.strip_prefix("blobs/")?.replacen('/', ":", 1).parse().ok();
        Ok(self.blobs.keys().filter_map(digest).collect())
    }
}

/// The digests of `start` and what follows it, `size` bytes together, as they are and decompressed.
pub(crate) fn digests(start: &[u8], reader: &mut dyn Read, size: u64) -> io::Result<(Digest, Digest)> {
    let mut raw = Hashed { inner: start.chain(reader), out: Sha256Writer::new(io::sink()) };
    let mut plain = Sha256Writer::new(io::sink());
    {
        let mut packed = DetectedCompression::of(start).reader(&mut raw, size)?;
        io::copy(&mut packed, &mut plain)?;
    }
    io::copy(&mut raw, &mut io::sink())?;
    Ok((raw.out.finish().1, plain.finish().1))
}

/// Hashes what is read through it.
struct Hashed<R> {
    inner: R,
    out: Sha256Writer<io::Sink>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        io::Write::write_all(&mut self.out, &buffer[..read])?;
        Ok(read)
    }
}
