//! A medium as a [`Store`]: blobs by digest, and the documents among them bounded.

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
    /// Those with a valid descriptor.
    pub descriptors: Vec<Descriptor>,
    /// One line for each entry that is not a descriptor, for example with an unsupported digest algorithm.
    pub malformed: Vec<String>,
}

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

    /// The referrers of `digest`, where the medium lists them.
    ///
    /// # Errors
    ///
    /// The medium's own.
    fn referrers(&self, _digest: &Digest) -> io::Result<ListedReferrers> {
        Ok(ListedReferrers::default())
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
    Budget::new(&budget::DOCUMENT).take_bytes(size)?;
    Budget::new(&budget::DOCUMENT).read(reader.take(size + 1))
}
