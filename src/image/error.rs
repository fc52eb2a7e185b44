//! Why an image could not be read, or a blob not be made.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::{layer::LayerError, oci::Digest};

/// Why an image could not be read or a blob not be made.
///
/// [Example](crate#recipe).
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file system refused.
    #[error("{act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file is no recipe.
    #[error("{} is not an image.json", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The recipe names a file that it must not read.
    #[error("{}: {what} names {}: {why}; copy the file next to the recipe, or into the Nix store", file.display(), path.display())]
    Outside {
        /// The recipe.
        file: PathBuf,
        /// The part of it.
        what: String,
        /// The file it names.
        path: PathBuf,
        /// Why it is refused.
        why: String,
    },
    /// The file is an index of recipes, where one recipe is needed.
    #[error("{} is an index of several images; give one of the images that it lists", .0.display())]
    List(PathBuf),
    /// The recipe is of another time.
    #[error("{} has version {version}, but this strata reads versions 1 and 2; build it again with this strata", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// No layer, config or manifest has this digest.
    #[error("the image has no blob {0}")]
    NoBlob(Digest),
    /// The image has fewer layers.
    #[error("the image has no layer {0} (counted from 0)")]
    NoLayer(usize),
    /// A layer's files are not what they were when the image was made.
    #[error("layer {index} now has the digest {found}, but the image expects {expected}; {why}:{paths}")]
    Mismatch {
        /// Its place, counted from 1.
        index: usize,
        /// The digest in the image.
        expected: Box<Digest>,
        /// What it is.
        found: Box<Digest>,
        /// What is known of its store paths.
        why: &'static str,
        /// Those that changed, or where that is not known all of them; a line each.
        paths: String,
    },
    /// A ready blob could not be read, or is not what it should be.
    #[error("reading the blob {digest}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        source: io::Error,
    },
    /// What a blob is written to took no more: a full disk.
    #[error("writing the blob {digest}")]
    Write {
        /// The blob.
        digest: Digest,
        /// What the system answered.
        source: io::Error,
    },
    /// The manifest, which was read before, cannot be written with other layers.
    #[error("writing the manifest of the image")]
    Manifest(#[source] serde_json::Error),
    /// A layer's bytes could not be made.
    #[error("layer {index}")]
    Layer {
        /// Its place, counted from 1.
        index: usize,
        /// Why.
        source: LayerError,
    },
}

pub type Result<T> = std::result::Result<T, ImageError>;

/// As a closure for `map_err`.
pub(crate) fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { act, path, source }
}

/// Copies a blob. The error names the side that failed.
pub(crate) fn copy_blob(digest: Digest, reader: &mut dyn Read, out: &mut dyn Write) -> Result<u64> {
    let mut out = Told { out, failed: false };
    io::copy(reader, &mut out).map_err(|source| match out.failed {
        true => ImageError::Write { digest, source },
        false => ImageError::Blob { digest, source },
    })
}

/// Keeps in mind that writing failed.
struct Told<'a> {
    out: &'a mut dyn Write,
    failed: bool,
}

impl Write for Told<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.failed |= written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
