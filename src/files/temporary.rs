//! What is unfinished: files and directories under temporary names, known to this process, and locked against others.
//!
//! They are made and entered under one lock, which [`remove_unfinished`] never gives back: after it nothing new is made.

use std::{
    fs::{self, File},
    io, mem,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, open},
    io::Errno,
};

const PREFIX: &str = ".strata-";
const SUFFIX: &str = ".tmp";

/// What this process writes just now.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A temporary file or directory, removed unless it is kept.
#[derive(Debug)]
pub(super) struct Temporary {
    pub path: PathBuf,
    kept: bool,
}

impl Temporary {
    /// Makes one in `directory`, and locks it.
    pub fn make(directory: &Path, make: &dyn Fn(&Path) -> io::Result<File>) -> io::Result<(Self, File)> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{PREFIX}{}-{number}{SUFFIX}", std::process::id()));
            let mut all = unfinished();
            let file = match make(&path) {
                Ok(file) => file,
                // Another container's process may have our number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            all.push(path.clone());
            drop(all);
            let temporary = Self { path, kept: false };
            // Another process may sweep it before it is locked, or hold its lock: this one takes another name.
            if lock(&file)? && temporary.path.exists() {
                return Ok((temporary, file));
            }
        }
    }

    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            remove(&self.path);
        }
        unfinished().retain(|path| *path != self.path);
    }
}

/// Opens a directory that was just created. If another process has removed it as unlocked already, its name is taken, and the
/// next one is tried.
pub(super) fn open_created(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::ErrorKind::AlreadyExists.into(),
        _ => error,
    })
}

/// Removes what killed writers left in `directory`, and nothing of those that still write.
pub fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
            continue;
        }
        // Neither a link nor a pipe of this name holds anybody up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(file) = open(entry.path(), flags, Mode::empty())
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            remove(&entry.path());
        }
    }
}

/// Removes what this process writes just now, and lets it begin nothing more; for when it is told to end.
pub fn remove_unfinished() {
    let mut all = unfinished();
    // What is in a directory goes before it.
    all.drain(..).rev().for_each(|path| remove(&path));
    mem::forget(all);
}

/// Takes the exclusive lock of a file or a directory, which ends with the handle; whether it was free.
fn lock(file: &File) -> io::Result<bool> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            // NFS locks no directory, and some file systems lock nothing: writers are not kept apart there.
            Err(Errno::BADF | Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What cannot be removed is for the next sweep.
fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => drop(fs::remove_dir_all(path)),
        Ok(_) => drop(fs::remove_file(path)),
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_swept_before_it_is_open_gets_another_name() {
        let top = tempfile::tempdir().unwrap();
        let count = std::cell::Cell::new(0);
        let made = Temporary::make(top.path(), &|path| {
            fs::create_dir(path)?;
            count.set(count.get() + 1);
            if count.get() == 1 {
                sweep(top.path());
            }
            open_created(path)
        });
        let (temporary, _handle) = made.unwrap();
        assert!(temporary.path.is_dir());
        assert_eq!(count.get(), 2);
    }
}
