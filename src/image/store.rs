//! The trait [`Store`] for media that contain blobs, and the limit for the size of documents.

use std::{
    fmt,
    io::{self, Read},
};

use super::BlobFile;
use crate::{
    budget::{self, Budget},
    oci::{Descriptor, Digest},
};

/// The list of the referrers of a digest.
#[derive(Clone, Debug, Default)]
pub struct ListedReferrers {
    /// The valid descriptors.
    pub descriptors: Vec<Descriptor>,
    /// A message for each entry that is not a valid descriptor, for example because of an unsupported digest algorithm.
    pub malformed: Vec<String>,
}

/// A medium that contains blobs by digest. It is not trusted: the caller checks the digest of each blob.
pub trait Store: fmt::Debug + Send + Sync {
    /// Opens a blob. Returns `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If the medium cannot be read.
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>>;

    /// Reads a manifest or an index, which registries keep separately from blobs. Returns `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If the medium cannot be read.
    fn manifest(&self, descriptor: &Descriptor) -> io::Result<Option<Vec<u8>>> {
        let Some(reader) = self.open(&descriptor.digest)? else { return Ok(None) };
        read_document(reader, descriptor.size).map(Some)
    }

    /// Returns whether a blob exists.
    ///
    /// # Errors
    ///
    /// If the medium cannot be read.
    fn has(&self, digest: &Digest) -> io::Result<bool> {
        self.open(digest).map(|blob| blob.is_some())
    }

    /// Returns the file with the blob, if the medium keeps blobs as files.
    fn file(&self, _descriptor: &Descriptor) -> Option<BlobFile> {
        None
    }

    /// Returns the host and the repository, if the medium is a registry.
    fn origin(&self) -> Option<(&str, &str)> {
        None
    }

    /// Returns the referrers of `digest` that the medium lists.
    ///
    /// # Errors
    ///
    /// If the medium cannot be read.
    fn referrers(&self, _digest: &Digest) -> io::Result<ListedReferrers> {
        Ok(ListedReferrers::default())
    }

    /// Returns the name of the blob for messages.
    fn name(&self, digest: &Digest) -> String {
        digest.blob_name()
    }

    /// Returns the digests of all blobs, or an empty list if the medium cannot list them.
    ///
    /// # Errors
    ///
    /// If the medium cannot be read.
    fn list(&self) -> io::Result<Vec<Digest>> {
        Ok(Vec::new())
    }
}

/// Reads a document of `size` bytes. If it is longer, one further byte is read, so that the caller detects the wrong size.
pub(crate) fn read_document(reader: impl Read, size: u64) -> io::Result<Vec<u8>> {
    Budget::new(&budget::DOCUMENT).take_bytes(size)?;
    Budget::new(&budget::DOCUMENT).read(reader.take(size + 1))
}
