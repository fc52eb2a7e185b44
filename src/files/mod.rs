//! The only implementation of writing files: under a temporary name, synced to the disk, and renamed.
//!
//! ```text
//! .strata-<pid>-<n>.tmp   written and locked by one process
//!        │ fsync, rename, fsync of the directory
//!        ▼
//! the file                the old or the new, never a part
//! ```
//!
//! A writer holds the lock of its temporary file until it ends. [`sweep`] removes files without a lock, which killed writers
//! left. Each writer first sweeps the directory that it writes to. [`remove_unfinished`] is for signal handlers.

mod beneath;
mod lock;
mod new_directory;
mod temporary;

use std::{
    env,
    fs::{self, File, FileType, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, open};

use crate::budget::{Budget, Limits};
pub use beneath::{Beneath, DirectoryEntry};
pub use lock::{FileLock, lock_directory};
pub use new_directory::{NewDirectory, Scratch};
use temporary::Temporary;
pub use temporary::{remove_unfinished, sweep};

/// The maximum number of links that are followed, which is that of Linux.
const LINKS: usize = 40;

/// A file that does not exist before [`finish`](Self::finish).
#[derive(Debug)]
pub struct NewFile {
    temporary: Temporary,
    file: File,
    target: PathBuf,
}

impl NewFile {
    /// Starts a file that replaces `target`.
    ///
    /// # Errors
    ///
    /// If no file can be made in the same directory.
    pub fn create(target: &Path) -> io::Result<Self> {
        Self::with_mode(target, 0o666)
    }

    /// The same as [`create`](Self::create), for a path from the user: a link is kept, and its target is replaced.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Self::create).
    pub fn named(target: &Path) -> io::Result<Self> {
        Self::with_target(target, 0o666)
    }

    /// The same as [`named`](Self::named), with a file that only the user can read.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Self::create).
    pub fn private(target: &Path) -> io::Result<Self> {
        Self::with_target(target, 0o600)
    }

    /// Errors before anything is written if the target cannot be replaced.
    fn with_target(target: &Path, mode: u32) -> io::Result<Self> {
        let target = swept(target);
        match target.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Self::with_mode(&target, mode),
        }
    }

    fn with_mode(target: &Path, mode: u32) -> io::Result<Self> {
        let open = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path);
        let (temporary, file) = Temporary::make(directory(target), &open)?;
        Ok(Self { temporary, file, target: target.to_owned() })
    }

    /// Returns the file for writing.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs the file to the disk, and renames it.
    ///
    /// # Errors
    ///
    /// If the file system refuses. The target is unchanged then.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        let target = self.target.clone();
        self.finish_unsynced()?;
        sync_directory(&target)
    }

    /// Renames the file without a sync, for a directory that is useless before all files are written.
    ///
    /// # Errors
    ///
    /// Those of [`finish`](Self::finish).
    pub fn finish_unsynced(self) -> io::Result<()> {
        fs::rename(&self.temporary.path, &self.target)?;
        self.temporary.keep();
        Ok(())
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

/// Writes these bytes as `target`, completely or not at all.
///
/// # Errors
///
/// If the file system refuses. The target is unchanged then.
pub fn write(target: &Path, bytes: &[u8]) -> io::Result<()> {
    write_to(NewFile::create(target)?, bytes)
}

fn write_to(mut file: NewFile, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.finish()
}

/// The same as [`write()`], for a path from the user. A pipe or a device receives the bytes directly.
///
/// # Errors
///
/// Those of [`write()`].
pub fn save(named: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_stream(named) { fs::write(named, bytes) } else { write_to(NewFile::named(named)?, bytes) }
}

/// Opens a file of another program for reading. A pipe or a device in its place does not block.
///
/// # Errors
///
/// If the file does not exist, or is not a regular file.
pub fn open_plain(path: &Path) -> io::Result<File> {
    check_is_file(File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?))
}

fn check_is_file(file: File) -> io::Result<File> {
    let kind = file.metadata()?.file_type();
    match kind.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {}, not a file", called(kind)))),
    }
}

/// Creates the directories of `below`, a relative path, in `root`. The user chose `root`. A link below it would lead to files
/// that the user did not choose.
///
/// # Errors
///
/// The directory and its error, if it cannot be created, or is a link or a file.
pub fn make_directories(root: &Path, below: &Path) -> Result<(), (PathBuf, io::Error)> {
    let mut path = root.to_owned();
    for part in below.components().filter(|part| matches!(part, Component::Normal(_))) {
        path.push(part);
        let created = match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::symlink_metadata(&path),
        };
        match created {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                let what = "it is a link or a file, not a directory; remove it, or choose another directory";
                return Err((path, io::Error::new(io::ErrorKind::NotADirectory, what)));
            }
            Err(error) => return Err((path, error)),
        }
    }
    Ok(())
}

/// Reads a file of another program within `limits`.
///
/// # Errors
///
/// Those of [`open_plain`], and an error if the file is larger than the limit.
pub fn read_bounded(path: &Path, limits: &'static Limits) -> io::Result<Vec<u8>> {
    Budget::new(limits).read(open_plain(path)?)
}

/// Returns the name of a type of file for messages.
fn called(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Whether the path is a pipe or a device, which is written to instead of replaced.
pub fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

/// Returns the target of a link, or the path itself. Removes the files of killed writers from its directory.
fn swept(path: &Path) -> PathBuf {
    let target = fs::canonicalize(path).unwrap_or_else(|_| followed(path));
    sweep(directory(&target));
    target
}

/// Returns the target of a link, which need not exist.
fn followed(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        let Ok(link) = fs::read_link(&target) else { break };
        target = directory(&target).join(link);
    }
    target
}

/// The user's cache directory, if there is one.
pub fn cache_folder() -> Option<PathBuf> {
    let set = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(base.join("strata"))
}

/// Returns the directory of `path`.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

/// Syncs the directory of `path` to the disk, if the file system supports it.
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
    fn temporary_files_of_killed_writers_are_removed_from_the_target_directory() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join(".strata-1-1.tmp"), "left").unwrap();
        save(&top.path().join("file"), b"new").unwrap();
        assert_eq!(names(top.path()), ["file"]);
    }

    #[test]
    fn links_and_devices_are_kept_and_written_through() {
        let top = tempfile::tempdir().unwrap();
        let (elsewhere, link) = (top.path().join("elsewhere"), top.path().join("link"));
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("file"), "old").unwrap();
        std::os::unix::fs::symlink("elsewhere/file", &link).unwrap();
        save(&link, b"new").unwrap();
        assert_eq!(fs::read(elsewhere.join("file")).unwrap(), b"new");
        let (new, dangling) = (elsewhere.join("new"), top.path().join("dangling"));
        std::os::unix::fs::symlink(&new, &dangling).unwrap();
        save(&dangling, b"new").unwrap();
        assert_eq!(fs::read(&new).unwrap(), b"new");
        assert_eq!(fs::read_link(&dangling).unwrap(), new);
        let device = top.path().join("device");
        std::os::unix::fs::symlink("/dev/null", &device).unwrap();
        save(&device, b"new").unwrap();
        assert_eq!(fs::read_link(&device).unwrap(), Path::new("/dev/null"));
        assert_eq!(names(top.path()), ["dangling", "device", "elsewhere", "link"]);
    }

    #[test]
    fn sweep_removes_unlocked_temporary_files() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join(".strata-1-1.tmp"), "left").unwrap();
        fs::create_dir(top.path().join(".strata-1-2.tmp")).unwrap();
        fs::write(top.path().join(".strata-1-2.tmp/blob"), "left").unwrap();
        fs::write(top.path().join("other.tmp"), "another file").unwrap();
        let running = NewFile::create(&top.path().join("file")).unwrap();
        sweep(top.path());
        assert_eq!(names(top.path()).len(), 2);
        running.finish().unwrap();
        assert_eq!(names(top.path()), ["file", "other.tmp"]);
    }
}
