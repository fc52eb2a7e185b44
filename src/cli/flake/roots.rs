//! Roots of the garbage collector, which are removed with their server.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::files;

/// A directory of links that Nix takes for roots. It is locked as long as this value lives. The next server removes the
/// directories of servers that were killed.
#[derive(Debug)]
pub struct GcRoots {
    directory: PathBuf,
    _lock: File,
}

impl GcRoots {
    /// Creates the directory, in the user's cache.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn create() -> Result<Self> {
        let base =
            files::cache_folder().context("creating roots: neither XDG_CACHE_HOME nor HOME is set")?.join("served");
        Self::create_in(&base)
    }

    /// Creates the directory in `base`, and removes the directories without a locked file, whose servers have ended.
    fn create_in(base: &Path) -> Result<Self> {
        let creating = || format!("creating {}", base.display());
        fs::create_dir_all(base).with_context(creating)?;
        for entry in fs::read_dir(base).with_context(creating)?.flatten() {
            if let Ok(lock) = File::open(entry.path().join("lock"))
                && !matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let directory = tempfile::Builder::new().prefix("server-").tempdir_in(base).with_context(creating)?.keep();
        let lock = File::create(directory.join("lock")).with_context(creating)?;
        lock.try_lock().with_context(creating)?;
        Ok(Self { directory, _lock: lock })
    }

    /// Returns the path of a new link.
    pub fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number}"))
    }
}

impl Drop for GcRoots {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_of_servers_that_ended_are_removed() {
        let base = tempfile::tempdir().unwrap();
        let stale = base.path().join("server-stale");
        fs::create_dir(&stale).unwrap();
        File::create(stale.join("lock")).unwrap();
        let first = GcRoots::create_in(base.path()).unwrap();
        assert!(!stale.exists());
        let second = GcRoots::create_in(base.path()).unwrap();
        assert!(first.directory.exists(), "the roots of a server that runs");
        let directory = second.directory.clone();
        drop(second);
        assert!(!directory.exists());
    }
}
