//! Directories that appear as a whole, and temporary directories. Used by all writers of layouts and caches through
//! [`files`](super).

use std::{
    env,
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{
    directory, sweep, swept, sync_directory,
    temporary::{self, Temporary},
};

/// A directory that does not exist before [`finish`](Self::finish).
#[derive(Debug)]
pub struct NewDirectory {
    temporary: Temporary,
    /// The open directory, whose lock is held.
    _handle: File,
    target: PathBuf,
}

impl NewDirectory {
    /// Starts a directory that replaces `target`. A link is kept, and its target is replaced.
    ///
    /// # Errors
    ///
    /// If no directory can be made in the same directory.
    pub fn create(target: &Path) -> io::Result<Self> {
        let target = swept(target);
        let (temporary, handle) = Temporary::make(directory(&target), &make_directory)?;
        Ok(Self { temporary, _handle: handle, target })
    }

    /// Returns the temporary path of the directory.
    pub fn path(&self) -> &Path {
        &self.temporary.path
    }

    /// Renames the directory. An existing target is exchanged in one step, and removed.
    ///
    /// # Errors
    ///
    /// If the file system refuses. The target is unchanged then.
    pub fn finish(self) -> io::Result<()> {
        sync_directory(&self.temporary.path.join("-"))?;
        if fs::symlink_metadata(&self.target).is_ok() {
            renameat_with(CWD, &self.temporary.path, CWD, &self.target, RenameFlags::EXCHANGE)?;
            // The old directory has the temporary name now, and is removed.
            drop(self.temporary);
        } else {
            fs::rename(&self.temporary.path, &self.target)?;
            self.temporary.keep();
        }
        sync_directory(&self.target)
    }
}

fn make_directory(path: &Path) -> io::Result<File> {
    fs::create_dir(path)?;
    File::open(path)
}

/// A temporary directory among the machine's temporary files, which is removed afterwards.
#[derive(Debug)]
pub struct Scratch {
    temporary: Temporary,
    /// The open directory, whose lock is held.
    _handle: File,
}

impl Scratch {
    /// Makes the directory.
    ///
    /// # Errors
    ///
    /// If the directory cannot be made.
    pub fn create() -> io::Result<Self> {
        let place = env::temp_dir();
        sweep(&place);
        let (temporary, handle) = Temporary::make(&place, &|path| {
            fs::DirBuilder::new().mode(0o700).create(path)?;
            temporary::open_created(path)
        })?;
        Ok(Self { temporary, _handle: handle })
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.temporary.path
    }
}
