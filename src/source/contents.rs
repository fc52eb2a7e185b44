//! What an archive or a directory holds: documents, kept, and blobs, found again when they are needed.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::write::MultiGzDecoder;
use serde::de::DeserializeOwned;

use super::{SourceError, archive::Archive};
use crate::layer::Packing;
use crate::oci::{Digest, Sha256Writer};

/// Documents bigger than this (in bytes) are kept as blobs only; registries refuse
/// manifests over 4 MiB too.
const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;
/// All documents together may take this much memory, in bytes.
const DOCUMENTS_LIMIT: usize = 32 * 1024 * 1024;

/// Everything in an archive, a layout or a `dir:` directory, by name: `index.json`, `blobs/sha256/…`.
#[derive(Debug, Default)]
pub struct Contents {
    /// The archive, where it is one.
    pub(super) archive: Option<Arc<Archive>>,
    /// JSON files, in order of their names.
    documents: BTreeMap<String, Vec<u8>>,
    kept: usize,
    /// Every other file, and documents again.
    pub blobs: BTreeMap<String, Blob>,
    /// Names that stand for others.
    aliases: BTreeMap<String, String>,
}

/// A file of an archive or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Bytes.
    pub size: u64,
    /// Its digest and that of its decompressed bytes, where asked for.
    pub digests: Option<(Digest, Digest)>,
    place: Place,
}

/// Where a blob's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    /// From this byte of the plain archive on.
    Archive(u64),
}

impl Contents {
    /// Takes one file in: keeps it if it is a document; with `hash`, reads all of it.
    pub(super) fn add(
        &mut self,
        name: String,
        size: u64,
        place: Place,
        reader: &mut dyn Read,
        hash: bool,
    ) -> io::Result<()> {
        if self.blobs.contains_key(&name) || self.aliases.contains_key(&name) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is there twice"));
        }
        let mut start = Vec::new();
        reader.take(DOCUMENT_LIMIT.min(size).min(512)).read_to_end(&mut start)?;
        let is_document = size <= DOCUMENT_LIMIT && matches!(start.trim_ascii_start().first(), Some(b'{' | b'['));
        if is_document && self.kept + size as usize <= DOCUMENTS_LIMIT {
            reader.take(size - start.len() as u64).read_to_end(&mut start)?;
            self.kept += start.len();
            self.documents.insert(name.clone(), start.clone());
        }
        let digests = match hash {
            true => Some(digests(&start, reader)?),
            false => None,
        };
        self.blobs.insert(name, Blob { size, digests, place });
        Ok(())
    }

    /// Takes note that `name` stands for `target`.
    pub(super) fn alias(&mut self, name: String, target: String) {
        self.aliases.entry(name).or_insert(target);
    }

    /// A document's bytes, where it is one.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        self.documents.get(name).map(Vec::as_slice)
    }

    /// The blob of this name.
    pub fn blob(&self, name: &str) -> Option<&Blob> {
        self.blobs.get(name).or_else(|| self.blobs.get(self.aliases.get(name)?))
    }

    /// The file that is the blob of this name, where it is one of a directory.
    pub fn file(&self, name: &str) -> Option<&Path> {
        match &self.blob(name)?.place {
            Place::File(path) => Some(path),
            Place::Archive(_) => None,
        }
    }

    /// Opens the blob of this name.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be read.
    pub fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is missing"));
        let blob = self.blob(name).ok_or_else(missing)?;
        Ok(match &blob.place {
            Place::File(path) => Box::new(File::open(path)?),
            Place::Archive(offset) => Box::new(self.archive.as_ref().ok_or_else(missing)?.read(*offset, blob.size)?),
        })
    }

    /// The document of this digest, which its bytes must have.
    pub(super) fn document_of<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T, SourceError> {
        let name = digest.blob_name();
        match self.raw(&name).map(Digest::of) {
            Some(found) if found != *digest => Err(SourceError::Document {
                document: name,
                why: format!("its digest is {found}, not what its name says"),
            }),
            _ => self.document(&name),
        }
    }

    pub(super) fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T, SourceError> {
        let fail = |why: String| SourceError::Document { document: name.to_owned(), why };
        let text = self.raw(name).ok_or_else(|| match self.blob(name) {
            Some(blob) if blob.size > DOCUMENT_LIMIT => {
                fail(format!("it has {} bytes; documents have {DOCUMENT_LIMIT} at most", blob.size))
            }
            Some(_) => fail("it is no JSON".to_owned()),
            None => fail("it is missing".to_owned()),
        })?;
        serde_json::from_slice(text).map_err(|error| fail(error.to_string()))
    }
}

/// The digests of `start` and what follows it, as it is and decompressed.
pub(super) fn digests(start: &[u8], reader: &mut dyn Read) -> io::Result<(Digest, Digest)> {
    let mut raw = Sha256Writer::new(io::sink());
    let mut plain: Box<dyn Decoder> = match Packing::of(start) {
        Packing::Gzip => Box::new(MultiGzDecoder::new(Sha256Writer::new(io::sink()))),
        Packing::Zstd => Box::new(zstd::stream::write::Decoder::new(Sha256Writer::new(io::sink()))?),
        Packing::Plain | Packing::Xz => {
            raw.write_all(start)?;
            io::copy(reader, &mut raw)?;
            let (_, digest, _) = raw.finish();
            return Ok((digest, digest));
        }
    };
    let mut chunk = vec![0; 128 * 1024];
    let mut bytes = start;
    loop {
        raw.write_all(bytes)?;
        plain.write_all(bytes)?;
        match reader.read(&mut chunk)? {
            0 => break,
            read => bytes = &chunk[..read],
        }
    }
    let (_, digest, _) = raw.finish();
    Ok((digest, plain.diff_id()?))
}

/// Decompresses what is written, to be hashed.
trait Decoder: Write {
    fn diff_id(self: Box<Self>) -> io::Result<Digest>;
}

impl Decoder for MultiGzDecoder<Sha256Writer<io::Sink>> {
    fn diff_id(self: Box<Self>) -> io::Result<Digest> {
        Ok(self.finish()?.finish().1)
    }
}

impl Decoder for zstd::stream::write::Decoder<'static, Sha256Writer<io::Sink>> {
    fn diff_id(mut self: Box<Self>) -> io::Result<Digest> {
        self.flush()?;
        Ok(self.into_inner().finish().1)
    }
}
