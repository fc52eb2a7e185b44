//! Unfinished files and directories: they have temporary names, are recorded in this process, and are locked against others.
//!
//! They are made and recorded under one lock, which [`remove_unfinished`] never releases. No file is made after it.

use std::{
    fs::{self, File, Permissions},
    io, mem,
    os::unix::fs::PermissionsExt,
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

/// The unfinished files and directories of this process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A temporary file or directory, which is removed unless it is kept.
#[derive(Debug)]
pub(super) struct Temporary {
    pub path: PathBuf,
    kept: bool,
}

impl Temporary {
    /// Makes a file or directory in `directory`, and locks it.
    pub fn make(directory: &Path, make: &dyn Fn(&Path) -> io::Result<File>) -> io::Result<(Self, File)> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{PREFIX}{}-{number}{SUFFIX}", std::process::id()));
            let mut all = unfinished();
            let file = match make(&path) {
                Ok(file) => file,
                // A process of another container may have the same process ID.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            all.push(path.clone());
            drop(all);
            let temporary = Self { path, kept: false };
            // Another process may remove it before it is locked, or hold its lock. Then the next name is tried.
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

/// Opens a directory that was just created. If another process has removed it before it was locked, the next name is tried.
pub(super) fn open_created(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::ErrorKind::AlreadyExists.into(),
        _ => error,
    })
}

/// Removes the files of killed writers from `directory`. Files of running writers are kept.
pub fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
            continue;
        }
        // A link or a pipe of this name does not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(file) = open(entry.path(), flags, Mode::empty())
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            remove(&entry.path());
        }
    }
}

/// Removes the unfinished files of this process, and prevents new ones. Signal handlers call it before the process ends.
pub fn remove_unfinished() {
    let mut all = unfinished();
    // The files of a directory are removed before the directory.
    all.drain(..).rev().for_each(|path| remove(&path));
    mem::forget(all);
}

/// Takes the exclusive lock of a file or a directory, which ends with the handle. Returns whether the lock was free.
fn lock(file: &File) -> io::Result<bool> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            // NFS has no locks of directories, and some file systems have no locks. Concurrent writers are not separated there.
            Err(Errno::BADF | Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Errors are ignored, since the next sweep removes the rest.
fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => {
            if fs::remove_dir_all(path).is_err() {
                make_removable(path);
                drop(fs::remove_dir_all(path));
            }
        }
        Ok(_) => drop(fs::remove_file(path)),
        Err(_) => {}
    }
}

/// Lets the owner change the directories below `path`. Those of images and store paths may be read-only. Links are not followed,
/// because a program of an image could replace a directory meanwhile.
#[cfg(target_os = "linux")]
fn make_removable(path: &Path) {
    use std::os::fd::AsRawFd;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(handle) = open(path, flags, Mode::empty()) else { return };
    let opened = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let _ = fs::set_permissions(&opened, Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(&opened) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        make_removable(&entry.path());
    }
}

#[cfg(not(target_os = "linux"))]
fn make_removable(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_directories_are_removed() {
        let top = tempfile::tempdir().unwrap();
        let outside = top.path().join("outside");
        fs::create_dir_all(outside.join("kept")).unwrap();
        let left = top.path().join(".strata-1-1.tmp");
        fs::create_dir_all(left.join("a/b")).unwrap();
        fs::write(left.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, left.join("a/link")).unwrap();
        for (path, mode) in [(&outside, 0o555), (&left.join("a/b"), 0o555), (&left.join("a"), 0)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        make_removable(&left);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&left.join("a")), mode(&left.join("a/b")), mode(&outside)), (0o700, 0o700, 0o555));
        sweep(top.path());
        assert!(!left.exists() && outside.join("kept").exists());
    }

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
