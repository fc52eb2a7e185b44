//! A medium as a [`Store`]: blobs by digest, and the documents among them bounded.

use std::{
    fmt,
    io::{self, Read},
};

use super::BlobFile;
use crate::oci::{Descriptor, Digest};

/// Documents bigger than this (in bytes) are refused; registries refuse manifests over 4 MiB too.
pub(crate) const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;

/// Blobs by digest. What it gives is not trusted: whoever asks checks.
pub trait Store: fmt::Debug + Send + Sync {
    /// Opens a blob, or says that it is not there.
    ///
    /// # Errors
    ///
    /// The medium's own.
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>>;

    /// A manifest or an index; registries keep them elsewhere than blobs.
    ///
    /// # Errors
    ///
    /// The medium's own.
    fn manifest(&self, descriptor: &Descriptor) -> io::Result<Option<Vec<u8>>> {
        let Some(reader) = self.open(&descriptor.digest)? else { return Ok(None) };
        read_document(reader, descriptor.size).map(Some)
    }

    /// Whether a blob is there.
    ///
    /// # Errors
    ///
    /// The medium's own.
    fn has(&self, digest: &Digest) -> io::Result<bool> {
        self.open(digest).map(|blob| blob.is_some())
    }

    /// The file that should hold the blob, where blobs are files.
    fn file(&self, _descriptor: &Descriptor) -> Option<BlobFile> {
        None
    }

    /// Host and repository, where it is one of a registry.
    fn origin(&self) -> Option<(&str, &str)> {
        None
    }

    /// Descriptors of what refers to `digest`, where the medium knows that.
    ///
    /// # Errors
    ///
    /// The medium's own.
    fn referrers(&self, _digest: &Digest) -> io::Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }

    /// What people call the blob.
    fn name(&self, digest: &Digest) -> String {
        digest.blob_name()
    }

    /// Every blob there, where they can be listed.
    ///
    /// # Errors
    ///
    /// The medium's own.
    fn list(&self) -> io::Result<Vec<Digest>> {
        Ok(Vec::new())
    }
}

/// Reads a document that should have `size` bytes, and one byte more where there is one.
pub(crate) fn read_document(reader: impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > DOCUMENT_LIMIT {
        let what = format!("it has {size} bytes; the limit for documents is {DOCUMENT_LIMIT}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut bytes = Vec::new();
    reader.take(size + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
