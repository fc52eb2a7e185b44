//! Blobs as files: of layouts, of `dir:`, and of what derivations make.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs::{self, File},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use crate::{
    files::{self, NewFile},
    image::{BlobReader, Image, ImageError, ManifestGraph},
    oci::{Descriptor, Digest},
};

/// Why a layout, or another directory, could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A blob could not be made, or a document not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The file system refused.
    #[error("writing {}", path.display())]
    Io {
        /// On which path.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// There is something else.
    #[error("{} is neither empty nor written by `dir:`; remove it, or choose another directory", .0.display())]
    NotOurs(PathBuf),
    /// The index.json is not an image index.
    #[error("{} is not an image index; remove it, or choose another directory", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Blobs below a directory.
#[derive(Debug)]
pub struct BlobFiles {
    root: PathBuf,
    name: fn(&Digest) -> String,
    /// Whether they outlive a crash of the machine.
    durable: bool,
    /// Directories that were made and swept.
    ready: RefCell<HashSet<PathBuf>>,
}

impl BlobFiles {
    /// Below `root`, each called as `name` says.
    pub fn new(root: &Path, name: fn(&Digest) -> String) -> Self {
        Self { root: root.to_owned(), name, durable: true, ready: RefCell::default() }
    }

    /// As [`new`](Self::new), in the output of a derivation, which Nix takes whole or not at all.
    pub fn of_output(root: &Path, name: fn(&Digest) -> String) -> Self {
        Self { durable: false, ..Self::new(root, name) }
    }

    /// Every blob and document.
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

    /// The layers and the config.
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

    /// Writes a blob that is known whole.
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

    /// Copies a blob from where it is a file.
    ///
    /// # Errors
    ///
    /// [`LayoutError`], also when it is another blob.
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

    /// Writes a blob whole or not at all, unless it is there and right.
    ///
    /// # Errors
    ///
    /// [`LayoutError`]
    pub fn blob(
        &self,
        descriptor: &Descriptor,
        produce: &dyn Fn(&mut NewFile) -> Result<(), ImageError>,
    ) -> Result<(), LayoutError> {
        let path = self.root.join((self.name)(&descriptor.digest));
        let fail = || io_error(&path);
        let directory = files::directory(&path);
        if self.ready.borrow_mut().insert(directory.to_owned()) {
            fs::create_dir_all(directory).map_err(fail())?;
            files::sweep(directory);
        }
        if files::open_plain(&path).is_ok_and(|there| is_right(there, descriptor)) {
            return Ok(());
        }
        let mut new = NewFile::create(&path).map_err(fail())?;
        produce(&mut new)?;
        if self.durable { new.finish() } else { new.finish_unsynced() }.map_err(fail())
    }
}

/// Whether a file is the blob that the descriptor says.
fn is_right(file: File, descriptor: &Descriptor) -> bool {
    let mut reader = BlobReader::new(Box::new(file), descriptor);
    io::copy(&mut reader, &mut io::sink()).is_ok()
}

/// Other systems share no blocks this way.
#[cfg(not(target_os = "linux"))]
fn clone_file(_: &File, _: &mut NewFile, _: &Descriptor) -> bool {
    false
}

/// Has the file system share the blocks of a file, where it can; whether what came of it is the blob.
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

/// On this path.
pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LayoutError + use<> {
    let path = path.to_owned();
    move |source| LayoutError::Io { path, source }
}
