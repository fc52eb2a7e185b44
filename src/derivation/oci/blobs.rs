//! `blobs/sha256/`, being written.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;

use strata::oci::{Digest, json};

/// A result directory with blobs.
pub struct Blobs {
    root: PathBuf,
}

impl Blobs {
    /// Creates the directory `root`, and `blobs/sha256` in it.
    pub fn create(root: &Path) -> Result<Self> {
        let blobs = root.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("creating {}", blobs.display()))?;
        Ok(Self { root: root.to_owned() })
    }

    /// A path of the result.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Whether the blob is there already.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest.blob_name()).symlink_metadata().is_ok()
    }

    /// Writes a blob that is known whole.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        self.write(&digest, |out| Ok(out.write_all(bytes)?))?;
        Ok(digest)
    }

    /// Writes a blob while it is made, unless it is there already.
    pub fn write(&self, digest: &Digest, produce: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        if self.has(digest) {
            return Ok(());
        }
        let path = self.path(digest.blob_name());
        let writing = || format!("writing {}", path.display());
        let mut file = File::create_new(&path).with_context(writing)?;
        produce(&mut file).with_context(writing)
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
