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
//! a killed writer left, and no others. Whoever writes where the user said sweeps there first. [`remove_unfinished`] is
//! for signal handlers.

mod beneath;
mod lock;
mod temporary;

use std::{
    env,
    fs::{self, File, FileType, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, open, renameat_with};

use crate::budget::{Budget, Limits};
pub use beneath::{Beneath, Entry};
pub use lock::{Lock, lock_directory};
use temporary::Temporary;
pub use temporary::{remove_unfinished, sweep};

/// Links to links, no more than Linux follows.
const LINKS: usize = 40;

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
        Self::with_mode(target, 0o666)
    }

    /// As [`create`](Self::create), of a file that the user named: a link stays, and leads to the new file.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn named(target: &Path) -> io::Result<Self> {
        Self::of_user(target, 0o666)
    }

    /// As [`named`](Self::named), for the user alone.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn private(target: &Path) -> io::Result<Self> {
        Self::of_user(target, 0o600)
    }

    /// What cannot be replaced is said before anything is written.
    fn of_user(target: &Path, mode: u32) -> io::Result<Self> {
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
        let target = self.target.clone();
        self.finish_unsynced()?;
        sync_directory(&target)
    }

    /// Brings it under its name alone, for a directory that is of no use until all of it is there.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
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

/// Writes these bytes as `target`, whole or not at all.
///
/// # Errors
///
/// When the file system refuses; the target is what it was, then.
pub fn write(target: &Path, bytes: &[u8]) -> io::Result<()> {
    write_to(NewFile::create(target)?, bytes)
}

fn write_to(mut file: NewFile, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.finish()
}

/// As [`write()`], to a file that the user named; a pipe or a device takes the bytes as they come.
///
/// # Errors
///
/// As [`write()`].
pub fn save(named: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_stream(named) { fs::write(named, bytes) } else { write_to(NewFile::named(named)?, bytes) }
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
    /// Begins a directory that will be `target`, which it replaces; a link stays, and leads to the new directory.
    ///
    /// # Errors
    ///
    /// When nothing can be written beside it.
    pub fn create(target: &Path) -> io::Result<Self> {
        let target = swept(target);
        let (temporary, handle) = Temporary::make(directory(&target), &make_directory)?;
        Ok(Self { temporary, _handle: handle, target })
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
            renameat_with(CWD, &self.temporary.path, CWD, &self.target, RenameFlags::EXCHANGE)?;
            // What was there before is temporary now, and goes.
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

/// A directory for what nobody needs afterwards, among the machine's temporary files.
#[derive(Debug)]
pub struct Scratch {
    temporary: Temporary,
    /// Held locked.
    _handle: File,
}

impl Scratch {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// When nothing can be written there.
    pub fn create() -> io::Result<Self> {
        let place = env::temp_dir();
        sweep(&place);
        let (temporary, handle) = Temporary::make(&place, &|path| {
            fs::DirBuilder::new().mode(0o700).create(path)?;
            temporary::open_created(path)
        })?;
        Ok(Self { temporary, _handle: handle })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.temporary.path
    }
}

/// Opens a file that others wrote to be read: a pipe or a device in its place holds nobody up.
///
/// # Errors
///
/// When there is none, or it is something else.
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

/// Reads a file that others wrote, within `limits`.
///
/// # Errors
///
/// As [`open_plain`], and when it is bigger.
pub fn read_bounded(path: &Path, limits: &'static Limits) -> io::Result<Vec<u8>> {
    Budget::new(limits).read(open_plain(path)?)
}

/// What people call it.
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

/// Whether it is a pipe or a device, which is written to and not replaced.
pub fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

/// What a link leads to, or else itself, where nothing is left of killed writers.
fn swept(path: &Path) -> PathBuf {
    let target = fs::canonicalize(path).unwrap_or_else(|_| followed(path));
    sweep(directory(&target));
    target
}

/// What a link leads to, though nothing is there yet.
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

/// The directory that holds `path`.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
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
    fn where_the_user_writes_nothing_is_left() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join(".strata-1-1.tmp"), "left").unwrap();
        save(&top.path().join("file"), b"new").unwrap();
        assert_eq!(names(top.path()), ["file"]);
    }

    #[test]
    fn links_and_devices_stay() {
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
        fs::write(top.path().join("other.tmp"), "not ours").unwrap();
        let running = NewFile::create(&top.path().join("file")).unwrap();
        sweep(top.path());
        assert_eq!(names(top.path()).len(), 2);
        running.finish().unwrap();
        assert_eq!(names(top.path()), ["file", "other.tmp"]);
    }
}
