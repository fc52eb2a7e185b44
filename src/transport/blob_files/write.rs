//! Writes blobs as files, for layouts, `dir:`, and outputs of derivations.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs::{self, File},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use crate::{
    files::{self, Beneath, DirectoryEntry, NewFile},
    image::{BlobReader, Image, ImageError, ManifestGraph},
    oci::{Descriptor, Digest},
};

/// The error of writing a layout or another directory.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A blob could not be made, or a document could not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("writing {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The directory contains something else.
    #[error("{} is neither empty nor written by `dir:`; remove it, or choose another directory", .0.display())]
    NotOurs(PathBuf),
    /// The index.json is not an image index.
    #[error("{} is not an image index; remove it, or choose another directory", path.display())]
    Index { path: PathBuf, source: serde_json::Error },
}

/// Blobs below a directory.
#[derive(Debug)]
pub struct BlobFiles {
    root: PathBuf,
    name: fn(&Digest) -> String,
    /// Whether files are synced, so that they survive a crash of the machine.
    durable: bool,
    /// Directories that were made, and cleared of temporary files.
    ready: RefCell<HashSet<PathBuf>>,
}

impl BlobFiles {
    /// Writes blobs below `root`. `name` returns the path of a blob.
    pub fn new(root: &Path, name: fn(&Digest) -> String) -> Self {
        Self { root: root.to_owned(), name, durable: true, ready: RefCell::default() }
    }

    /// The same as [`new`](Self::new) for the output of a derivation, which Nix keeps completely or not at all.
    pub fn for_output(root: &Path, name: fn(&Digest) -> String) -> Self {
        Self { durable: false, ..Self::new(root, name) }
    }

    /// Writes every blob and document of an image or index.
    pub(crate) fn content(&self, content: &ManifestGraph) -> Result<(), LayoutError> {
        match content {
            ManifestGraph::Image(image) => {
                self.write_all(image)?;
                self.bytes(&content.digest(), &image.manifest)
            }
            ManifestGraph::Index(index) => {
                index.children.iter().try_for_each(|child| self.content(child))?;
                self.bytes(&content.digest(), &index.bytes)
            }
        }
    }

    /// Writes the layers and the config.
    pub(crate) fn write_all(&self, image: &Image) -> Result<(), LayoutError> {
        for layer in image.layers.iter().filter(|layer| !layer.elsewhere) {
            self.blob(&layer.descriptor, &|new| match &layer.file {
                Some(file) if file.open_unchecked().is_ok_and(|file| clone_file(&file, new, &layer.descriptor)) => {
                    Ok(())
                }
                _ => layer.write(new),
            })?;
        }
        self.bytes(&image.config_descriptor().digest, &image.config)
    }

    /// Writes a blob whose bytes are in memory.
    ///
    /// # Errors
    ///
    /// [`LayoutError`]
    pub fn bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<(), LayoutError> {
        let descriptor = Descriptor::new("", *digest, bytes.len() as u64);
        self.blob(&descriptor, &|out| {
            out.write_all(bytes).map_err(|source| ImageError::Write { digest: *digest, source })
        })
    }

    /// Copies a blob from a file.
    ///
    /// # Errors
    ///
    /// [`LayoutError`], also if the file contains another blob.
    pub fn copy(&self, digest: &Digest, from: &Path) -> Result<(), LayoutError> {
        let size = fs::metadata(from).map_err(io_error(from))?.len();
        let descriptor = Descriptor::new("", *digest, size);
        self.blob(&descriptor, &|new| {
            if files::open_plain(from).is_ok_and(|file| clone_file(&file, new, &descriptor)) {
                return Ok(());
            }
            let copied = files::open_plain(from)
                .and_then(|file| io::copy(&mut BlobReader::new(Box::new(file), &descriptor), new).map(drop));
            copied.map_err(|source| ImageError::Io { act: "copying", path: from.to_owned(), source })
        })
    }

    /// Opens the file of an existing blob. In a layout of the user a link is not followed, so that the blob replaces it.
    /// The links that a derivation makes are followed.
    fn open(&self, name: &Path) -> Option<File> {
        match Beneath::open(&self.root).and_then(|root| root.entry(name)).ok()? {
            DirectoryEntry::File(file) => Some(file),
            DirectoryEntry::Link(_) if !self.durable => files::open_plain(&self.root.join(name)).ok(),
            DirectoryEntry::Link(_) => None,
        }
    }

    /// Writes a blob completely or not at all, unless a correct file exists.
    ///
    /// # Errors
    ///
    /// [`LayoutError`]
    pub fn blob(
        &self,
        descriptor: &Descriptor,
        produce: &dyn Fn(&mut NewFile) -> Result<(), ImageError>,
    ) -> Result<(), LayoutError> {
        let name = (self.name)(&descriptor.digest);
        let path = self.root.join(&name);
        let fail = || io_error(&path);
        let directory = files::directory(&path);
        let is_new = self.ready.borrow_mut().insert(directory.to_owned());
        if is_new {
            fs::create_dir_all(&self.root).map_err(fail())?;
        }
        files::make_directories(&self.root, files::directory(Path::new(&name)))
            .map_err(|(path, error)| io_error(&path)(error))?;
        if is_new {
            files::sweep(directory);
        }
        if self.open(Path::new(&name)).is_some_and(|there| is_right(there, descriptor)) {
            return Ok(());
        }
        let mut new = NewFile::create(&path).map_err(fail())?;
        produce(&mut new)?;
        if self.durable { new.finish() } else { new.finish_unsynced() }.map_err(fail())
    }
}

/// Whether a file contains the blob of the descriptor.
fn is_right(file: File, descriptor: &Descriptor) -> bool {
    let mut reader = BlobReader::new(Box::new(file), descriptor);
    io::copy(&mut reader, &mut io::sink()).is_ok()
}

/// Other systems do not support shared blocks in this way.
#[cfg(not(target_os = "linux"))]
fn clone_file(_: &File, _: &mut NewFile, _: &Descriptor) -> bool {
    false
}

/// Shares the blocks of a file if the file system supports it. Returns whether the result is the blob.
#[cfg(target_os = "linux")]
fn clone_file(from: &File, to: &mut NewFile, descriptor: &Descriptor) -> bool {
    let mut clone = || -> io::Result<bool> {
        rustix::fs::ioctl_ficlone(to.file(), from)?;
        let right = is_right(to.file().try_clone()?, descriptor);
        if !right {
            to.file().set_len(0)?;
        }
        to.file().rewind()?;
        Ok(right)
    };
    clone().unwrap_or(false)
}

/// Returns a function that adds the path.
pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LayoutError + use<> {
    let path = path.to_owned();
    move |source| LayoutError::Io { path, source }
}
