//! Writes `blobs/sha256/`.

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

/// An output directory with blobs.
pub struct OutputBlobs {
    root: PathBuf,
    blobs: blob_files::BlobFiles,
}

impl OutputBlobs {
    /// Creates the directory `root`, and `blobs/sha256` in it.
    pub fn create(root: &Path) -> Result<Self> {
        let blobs = root.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("creating {}", blobs.display()))?;
        Ok(Self { root: root.to_owned(), blobs: blob_files::BlobFiles::for_output(root, Digest::blob_name) })
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    fn is_present(&self, digest: &Digest) -> bool {
        self.path(digest.blob_name()).symlink_metadata().is_ok()
    }

    /// Writes a blob whose bytes are in memory.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::sha256(bytes);
        self.blobs.bytes(&digest, bytes)?;
        Ok(digest)
    }

    /// Copies a blob of another store path, unless it is present.
    pub fn copy(&self, digest: &Digest, from: &Path) -> Result<()> {
        if self.is_present(digest) { Ok(()) } else { Ok(self.blobs.copy(digest, from)?) }
    }

    /// Makes a layer, which has this position in its image, unless its blob is present.
    pub fn layer(&self, layer: &RecipeLayer, place: usize) -> Result<()> {
        if self.is_present(&layer.digest) {
            return Ok(());
        }
        Ok(self.blobs.blob(&layer.descriptor(), &|out| layer.write(place, &Default::default(), out))?)
    }

    /// Links a blob of another store path, unless it is present.
    pub fn link(&self, digest: &Digest, target: &Path) -> Result<()> {
        if self.is_present(digest) {
            return Ok(());
        }
        self.symlink(target, digest.blob_name())
    }

    /// Links `name` to `target`, which may be relative to the output directory.
    pub fn symlink(&self, target: &Path, name: impl AsRef<Path>) -> Result<()> {
        let path = self.path(name);
        symlink(target, &path).with_context(|| format!("linking {}", path.display()))
    }

    /// Writes a small JSON file next to the blobs.
    pub fn document<T: Serialize>(&self, name: &str, document: &T) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, json::to_vec(document)).with_context(|| format!("writing {}", path.display()))
    }
}
