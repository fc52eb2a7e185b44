//! Reads directories with images. Only regular files are opened, and only inside of the directory.
//!
//! Links are followed only into the Nix store, whose files every user can read: results of `ociImageLayout` link to
//! blobs of other store paths. Any other link could lead to a secret file of the user, or to a device.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    files::{Beneath, DirectoryEntry},
    image::{BlobFile, OpenError, recipe::open_in_store, store::read_document},
    oci::{Descriptor, json},
};

pub(crate) fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, OpenError> {
    let fail =
        |error: serde_json::Error| OpenError::Document { document: path.display().to_string(), why: error.to_string() };
    json::from_slice(bytes).map_err(fail)
}

/// A directory with an image.
#[derive(Debug)]
pub(crate) struct Folder {
    pub path: PathBuf,
    beneath: Arc<Beneath>,
}

impl Folder {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), beneath: Arc::new(Beneath::open(path)?) })
    }

    /// Returns the file of this name, if it exists.
    pub fn find(&self, name: &str) -> io::Result<Option<File>> {
        match open(&self.beneath, Path::new(name)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn reader(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        Ok(self.find(name)?.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }

    /// Reads a document.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = open(&self.beneath, Path::new(name))?;
        let size = file.metadata()?.len();
        read_document(file, size)
    }

    /// Returns the file of this name as the blob of `descriptor`.
    pub fn blob_file(&self, name: String, descriptor: &Descriptor) -> BlobFile {
        let beneath = Arc::clone(&self.beneath);
        let path = self.path.join(&name);
        BlobFile::new(path, (descriptor.digest, descriptor.size), move || open(&beneath, Path::new(&name)))
    }
}

fn open(beneath: &Beneath, name: &Path) -> io::Result<File> {
    match beneath.entry(name)? {
        DirectoryEntry::File(file) => Ok(file),
        DirectoryEntry::Link(target) if target.is_absolute() => {
            open_in_store(&target).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => refused(name, &target),
                _ => error,
            })
        }
        DirectoryEntry::Link(target) => Err(refused(name, &target)),
    }
}

fn refused(name: &Path, target: &Path) -> io::Error {
    let (name, target) = (name.display(), target.display());
    let what = format!(
        "{name} is a link to {target}, which may be any file; copy the image with `cp -rL` if you trust its links"
    );
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Returns the names in the directory in order, or none if there is no directory.
pub(crate) fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names = entries.map(|entry| entry.map(name)).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}
