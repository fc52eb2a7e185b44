//! The one way to write a file: under a temporary name, to the disk, then renamed.
//!
//! ```text
//! .strata-<pid>-<n>.tmp   written and locked by whoever writes it
//!        │ fsync, rename, fsync of the directory
//!        ▼
//! the file                the old or the new, never between
//! ```
//!
//! A writer holds a lock on its temporary file for as long as it lives: [`sweep`] removes those without a lock, which
//! a killed writer left, and no others. [`remove_unfinished`] is for signal handlers.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

const PREFIX: &str = ".strata-";
const SUFFIX: &str = ".tmp";

/// What this process writes just now.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file that is not there before [`finish`](Self::finish).
#[derive(Debug)]
pub struct NewFile {
    temporary: Temporary,
    file: File,
    target: PathBuf,
}

impl NewFile {
    /// Begins a file that will be `target`, which it replaces.
    ///
    /// # Errors
    ///
    /// When nothing can be written beside it.
    pub fn create(target: &Path) -> io::Result<Self> {
        let (temporary, file) =
            Temporary::make(target, &|path| OpenOptions::new().read(true).write(true).create_new(true).open(path))?;
        Ok(Self { temporary, file, target: target.to_owned() })
    }

    /// The file, to be written.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Brings it to the disk and under its name.
    ///
    /// # Errors
    ///
    /// When the file system refuses; the target is what it was, then.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary.path, &self.target)?;
        self.temporary.keep();
        sync_directory(&self.target)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes these bytes as `target`, whole or not at all.
///
/// # Errors
///
/// When the file system refuses; the target is what it was, then.
pub fn write(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(target)?;
    file.write_all(bytes)?;
    file.finish()
}

/// A directory that is not there before [`finish`](Self::finish).
#[derive(Debug)]
pub struct NewDirectory {
    temporary: Temporary,
    /// Held locked.
    _handle: File,
    target: PathBuf,
}

impl NewDirectory {
    /// Begins a directory that will be `target`, which it replaces.
    ///
    /// # Errors
    ///
    /// When nothing can be written beside it.
    pub fn create(target: &Path) -> io::Result<Self> {
        let (temporary, handle) = Temporary::make(target, &|path| {
            fs::create_dir(path)?;
            File::open(path)
        })?;
        Ok(Self { temporary, _handle: handle, target: target.to_owned() })
    }

    /// Where to write until then.
    pub fn path(&self) -> &Path {
        &self.temporary.path
    }

    /// Brings it under its name: what had it is exchanged in one step, and removed.
    ///
    /// # Errors
    ///
    /// When the file system refuses; the target is what it was, then.
    pub fn finish(self) -> io::Result<()> {
        sync_directory(&self.temporary.path.join("-"))?;
        if fs::symlink_metadata(&self.target).is_ok() {
            let target = fs::canonicalize(&self.target)?;
            renameat_with(CWD, &self.temporary.path, CWD, target, RenameFlags::EXCHANGE)?;
            // What was there before is temporary now, and goes.
            drop(self.temporary);
        } else {
            fs::rename(&self.temporary.path, &self.target)?;
            self.temporary.keep();
        }
        sync_directory(&self.target)
    }
}

/// A temporary file or directory, removed unless it is kept.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    kept: bool,
}

impl Temporary {
    fn make(target: &Path, make: &dyn Fn(&Path) -> io::Result<File>) -> io::Result<(Self, File)> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory(target).join(format!("{PREFIX}{}-{number}{SUFFIX}", std::process::id()));
            unfinished(|all| all.push(path.clone()));
            let temporary = Self { path, kept: false };
            let file = match make(&temporary.path) {
                Ok(file) => file,
                Err(error) => {
                    // Not ours, if it is there.
                    temporary.keep();
                    // Another container's process may have our number.
                    if error.kind() == io::ErrorKind::AlreadyExists {
                        continue;
                    }
                    return Err(error);
                }
            };
            lock(&file)?;
            // Somebody may have swept it before it was locked.
            if temporary.path.exists() {
                return Ok((temporary, file));
            }
        }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            remove(&self.path);
        }
        unfinished(|all| all.retain(|path| *path != self.path));
    }
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Waits for the exclusive lock of `directory`.
///
/// # Errors
///
/// When there is no such directory, or its file system has no locks.
pub fn lock_directory(directory: &Path) -> io::Result<Lock> {
    let file = File::open(directory)?;
    lock(&file)?;
    Ok(Lock { _file: file })
}

fn lock(file: &File) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Removes what killed writers left in `directory`, and nothing of those that still write.
pub fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        if !is_ours || entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        if let Ok(file) = File::open(entry.path())
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            remove(&entry.path());
        }
    }
}

/// Removes what this process writes just now; for when it is told to end.
pub fn remove_unfinished() {
    unfinished(|all| all.drain(..).for_each(|path| remove(&path)));
}

/// The directory that holds `path`.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

fn unfinished(act: impl FnOnce(&mut Vec<PathBuf>)) {
    act(&mut UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner));
}

/// What cannot be removed is for the next sweep.
fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => drop(fs::remove_dir_all(path)),
        Ok(_) => drop(fs::remove_file(path)),
        Err(_) => {}
    }
}

/// Brings the names of the directory that holds `path` to the disk; not every file system can.
fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(directory(path))?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(directory).unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_the_old_one_until_it_is_finished() {
        let top = tempfile::tempdir().unwrap();
        let target = top.path().join("file");
        fs::write(&target, "old").unwrap();
        let mut file = NewFile::create(&target).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        file.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        drop(NewFile::create(&target).unwrap());
        assert_eq!(names(top.path()), ["file"]);
    }

    #[test]
    fn a_directory_is_exchanged_whole() {
        let top = tempfile::tempdir().unwrap();
        let target = top.path().join("directory");
        for name in ["one", "two"] {
            let new = NewDirectory::create(&target).unwrap();
            fs::write(new.path().join(name), name).unwrap();
            new.finish().unwrap();
            assert_eq!(names(&target), [name]);
            assert_eq!(names(top.path()), ["directory"]);
        }
    }

    #[test]
    fn sweeping_removes_what_nobody_writes_any_more() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join(".strata-1-1.tmp"), "left").unwrap();
        fs::create_dir(top.path().join(".strata-1-2.tmp")).unwrap();
        fs::write(top.path().join(".strata-1-2.tmp/blob"), "left").unwrap();
        fs::write(top.path().join("other.tmp"), "not ours").unwrap();
        let running = NewFile::create(&top.path().join("file")).unwrap();
        sweep(top.path());
        assert_eq!(names(top.path()).len(), 2);
        running.finish().unwrap();
        assert_eq!(names(top.path()), ["file", "other.tmp"]);
    }
}
