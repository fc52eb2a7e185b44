//! `blobs/sha256/`, being written.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    image::recipe::RecipeLayer,
    oci::{Digest, json},
    transport::blob_files,
};

/// A result directory with blobs.
pub struct OutputBlobs {
    root: PathBuf,
    blobs: blob_files::BlobFiles,
}

impl OutputBlobs {
    /// Creates the directory `root`, and `blobs/sha256` in it.
    pub fn create(root: &Path) -> Result<Self> {
        let blobs = root.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("creating {}", blobs.display()))?;
        Ok(Self { root: root.to_owned(), blobs: blob_files::BlobFiles::of_output(root, Digest::blob_name) })
    }

    /// A path of the result.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Whether the blob is there already.
    fn has(&self, digest: &Digest) -> bool {
        self.path(digest.blob_name()).symlink_metadata().is_ok()
    }

    /// Writes a blob that is known whole.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        self.blobs.bytes(&digest, bytes)?;
        Ok(digest)
    }

    /// Copies a blob of another store path, unless it is there already.
    pub fn copy(&self, digest: &Digest, from: &Path) -> Result<()> {
        if self.has(digest) { Ok(()) } else { Ok(self.blobs.copy(digest, from)?) }
    }

    /// Makes a layer, which is the one at this place of its image, unless it is there already.
    pub fn layer(&self, layer: &RecipeLayer, place: usize) -> Result<()> {
        if self.has(&layer.digest) {
            return Ok(());
        }
        Ok(self.blobs.blob(&layer.descriptor(), &|out| layer.write(place, &Default::default(), out))?)
    }

    /// Links a blob of another store path, unless it is there already.
    pub fn link(&self, digest: &Digest, target: &Path) -> Result<()> {
        if self.has(digest) {
            return Ok(());
        }
        self.symlink(target, digest.blob_name())
    }

    /// Links `name` to `target`, which may be relative to the result.
    pub fn symlink(&self, target: &Path, name: impl AsRef<Path>) -> Result<()> {
        let path = self.path(name);
        symlink(target, &path).with_context(|| format!("linking {}", path.display()))
    }

    /// Writes a small document beside the blobs.
    pub fn document<T: Serialize>(&self, name: &str, document: &T) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, json::to_vec(document)).with_context(|| format!("writing {}", path.display()))
    }
}
