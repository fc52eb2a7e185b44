//! Opens files below a directory that other programs wrote, without leaving the directory.
//!
//! ```text
//! blobs/sha256/HEX        a file               Entry::File
//! blobs -> /elsewhere     a link on the way    Entry::Link(/elsewhere/sha256/HEX), and the caller decides
//! ```
//!
//! The kernel resolves the path (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`), so that replacing a
//! directory by a link between a check and the open gains nothing. Where the kernel has no `openat2`, each directory on
//! the way is opened by itself with `O_NOFOLLOW`.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, readlinkat, statat},
    io::Errno,
};

use super::check_is_file;

/// A pipe in a file's place must not wait for its other end.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory whose files are opened without following links.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
}

/// The object that a name below the directory stands for.
#[derive(Debug)]
pub enum DirectoryEntry {
    /// A regular file.
    File(File),
    /// The name, or a directory on the way to it, is a link. The path is the target of the link, relative to the directory if
    /// the link is relative.
    Link(PathBuf),
}

impl Beneath {
    /// Opens the directory `root`. Links on the way to it are followed, because the user gave the path.
    ///
    /// # Errors
    ///
    /// If the path is not a directory.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: openat(CWD, root, flags, Mode::empty())? })
    }

    /// Opens the file `name` below the directory.
    ///
    /// # Errors
    ///
    /// If the file does not exist, it is not a regular file, or `name` is not a relative path without . and ...
    pub fn entry(&self, name: &Path) -> io::Result<DirectoryEntry> {
        if name.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(invalid(format!("{} is not a path below its directory", name.display())));
        }
        match self.resolve(name, FILE) {
            Ok(handle) => check_is_file(File::from(handle)).map(DirectoryEntry::File),
            Err(error) => self.link(name)?.map(DirectoryEntry::Link).ok_or(error),
        }
    }

    /// Opens `name`. Errors if a link is on the way.
    #[cfg(target_os = "linux")]
    fn resolve(&self, name: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        use rustix::fs::{ResolveFlags, openat2};
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        loop {
            return match openat2(&self.root, name, flags, Mode::empty(), within) {
                // A directory on the way was renamed at the same time.
                Err(Errno::AGAIN | Errno::INTR) => continue,
                // The kernel lacks the call, or the seccomp filter of a container refuses it.
                Err(Errno::NOSYS | Errno::PERM) => self.resolve_by_steps(name, flags),
                opened => Ok(opened?),
            };
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn resolve(&self, name: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.resolve_by_steps(name, flags)
    }

    fn resolve_by_steps(&self, name: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let (above, last) = split(name)?;
        let mut directory = self.root.try_clone()?;
        for part in above.components() {
            directory = openat(&directory, part.as_os_str(), DIRECTORY, Mode::empty())?;
        }
        Ok(openat(&directory, last, flags | OFlags::NOFOLLOW, Mode::empty())?)
    }

    /// Returns the target of the first link on the way to `name`.
    fn link(&self, name: &Path) -> io::Result<Option<PathBuf>> {
        let mut directory = self.root.try_clone()?;
        let mut here = PathBuf::new();
        let mut rest = name.components();
        while let Some(part) = rest.next() {
            let part = part.as_os_str();
            match statat(&directory, part, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    let target = readlinkat(&directory, part, Vec::new())?;
                    let target = here.join(OsStr::from_bytes(target.to_bytes()));
                    return Ok(Some(join(target, rest.as_path())));
                }
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    directory = openat(&directory, part, DIRECTORY, Mode::empty())?;
                    here.push(part);
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

fn join(path: PathBuf, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path } else { path.join(rest) }
}

/// Splits a relative path into its directory and its last name.
fn split(name: &Path) -> io::Result<(&Path, &OsStr)> {
    let last = name.file_name().ok_or_else(|| invalid("the path is empty".to_owned()))?;
    Ok((name.parent().unwrap_or(Path::new("")), last))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Read,
        os::unix::fs::{FileTypeExt, symlink},
    };

    use super::*;

    /// Returns the results of both ways to open a name: by the kernel and by steps.
    fn both(beneath: &Beneath, name: &str) -> [Option<String>; 2] {
        let text = |file: io::Result<OwnedFd>| {
            let mut text = String::new();
            check_is_file(File::from(file.ok()?)).ok()?.read_to_string(&mut text).ok()?;
            Some(text)
        };
        let name = Path::new(name);
        [beneath.resolve(name, FILE), beneath.resolve_by_steps(name, FILE)].map(text)
    }

    #[test]
    fn links_are_reported_and_never_followed() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        fs::write(root.join("blobs/sha256/own"), "own").unwrap();
        fs::write(top.path().join("secret"), "secret").unwrap();
        symlink(top.path().join("secret"), root.join("absolute")).unwrap();
        symlink("../../../secret", root.join("blobs/sha256/relative")).unwrap();
        symlink("own", root.join("blobs/sha256/beside")).unwrap();
        symlink(top.path(), root.join("directory")).unwrap();
        symlink("/proc/self", root.join("process")).unwrap();
        let beneath = Beneath::open(&root).unwrap();
        assert_eq!(both(&beneath, "blobs/sha256/own"), [Some("own".to_owned()), Some("own".to_owned())]);
        for (name, target) in [
            ("absolute", top.path().join("secret")),
            ("blobs/sha256/relative", "blobs/sha256/../../../secret".into()),
            ("blobs/sha256/beside", "blobs/sha256/own".into()),
            ("directory/secret", top.path().join("secret")),
            ("process/environ", "/proc/self/environ".into()),
        ] {
            assert_eq!(both(&beneath, name), [None, None], "{name}");
            match beneath.entry(Path::new(name)) {
                Ok(DirectoryEntry::Link(found)) => assert_eq!(found, target),
                other => panic!("{name}: {other:?}"),
            }
        }
        for name in ["../secret", "/etc/passwd", "blobs/../../secret", "", "missing", "blobs"] {
            assert!(beneath.entry(Path::new(name)).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_pipe_in_place_of_a_file_is_refused_at_once() {
        let top = tempfile::tempdir().unwrap();
        let pipe = top.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        let error = Beneath::open(top.path()).unwrap().entry(Path::new("pipe")).unwrap_err();
        assert!(error.to_string().contains("it is a pipe"), "{error}");
    }
}
