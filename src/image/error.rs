//! Errors of reading recipes and of making blobs.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::{layer::LayerError, oci::Digest};

/// The reason that a recipe cannot be read or a blob cannot be made.
///
/// [Example](crate#recipe).
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The operating system reports an error for a file.
    #[error("{act} {}", path.display())]
    Io {
        /// The operation, such as `reading`.
        act: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is not a recipe.
    #[error("{} is not an image.json", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// The recipe names a file that it must not read.
    #[error("{}: {what} names {}: {why}; copy the file next to the recipe, or into the Nix store", file.display(), path.display())]
    Outside {
        /// The recipe.
        file: PathBuf,
        /// The part of the recipe that names the file.
        what: String,
        /// The named file.
        path: PathBuf,
        /// The reason that the file is refused.
        why: String,
    },
    /// The file is an index of recipes instead of a recipe.
    #[error("{} is an index of several images; give one of the images that it lists", .0.display())]
    List(PathBuf),
    /// The recipe does not list the store paths that nodes mount.
    #[error("the image is not made for nodes with a Nix store; build it with the argument nixNode = true")]
    NoNixNode,
    /// The recipe lists a store path that nodes cannot mount.
    #[error("the image does not have {} unmodified, so nodes cannot mount it; build the image again", .0.display())]
    NotMountable(PathBuf),
    /// The mount points of store paths cannot be made.
    #[error("making mount points in a temporary directory")]
    MountPoints(#[source] io::Error),
    /// The version of the recipe is not supported.
    #[error("{} has version {version}, but this strata reads versions 1 and 2; build it again with this strata", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version of the recipe.
        version: u32,
    },
    /// No layer, config or manifest has this digest.
    #[error("the image has no blob {0}")]
    NoBlob(Digest),
    /// The image has no layer with this index.
    #[error("the image has no layer {0} (counted from 0)")]
    NoLayer(usize),
    /// The files of a layer changed after the image was built.
    #[error("layer {index} now has the digest {found}, but the image expects {expected}; {why}:{paths}")]
    Mismatch {
        /// The number of the layer, counted from 1.
        index: usize,
        /// The digest in the image.
        expected: Box<Digest>,
        /// The digest of the current files.
        found: Box<Digest>,
        /// Whether the changed store paths are known.
        why: &'static str,
        /// The changed store paths, or all store paths of the layer if the changed ones are unknown, one per line.
        paths: String,
    },
    /// A blob cannot be read, or does not match its descriptor.
    #[error("reading the blob {digest}")]
    Blob {
        /// The digest of the blob.
        digest: Digest,
        /// The cause.
        source: io::Error,
    },
    /// The destination of a blob reports an error, such as a full disk.
    #[error("writing the blob {digest}")]
    Write {
        /// The digest of the blob.
        digest: Digest,
        /// The error of the destination.
        source: io::Error,
    },
    /// The manifest of the image cannot be rewritten with other layers.
    #[error("writing the manifest of the image")]
    Manifest(#[source] serde_json::Error),
    /// The bytes of a layer cannot be made.
    #[error("layer {index}")]
    Layer {
        /// The number of the layer, counted from 1.
        index: usize,
        /// The cause.
        source: LayerError,
    },
}

pub type Result<T> = std::result::Result<T, ImageError>;

/// Returns a closure for `map_err` that adds the operation and the path.
pub(crate) fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { act, path, source }
}

/// Copies a blob. The error names the side that failed.
pub(crate) fn copy_blob(digest: Digest, reader: &mut dyn Read, out: &mut dyn Write) -> Result<u64> {
    let mut out = FailureWriter { out, failed: false };
    io::copy(reader, &mut out).map_err(|source| match out.failed {
        true => ImageError::Write { digest, source },
        false => ImageError::Blob { digest, source },
    })
}

/// A writer that records whether writing failed.
struct FailureWriter<'a> {
    out: &'a mut dyn Write,
    failed: bool,
}

impl Write for FailureWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.failed |= written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
