//! Opens files below an untrusted directory as if it were the root directory.
//!
//! ```text
//! nix -> /elsewhere        a link in the root, as in some base images
//! find("nix/store")        ROOT/elsewhere/store, whatever /elsewhere is on the machine
//! ```
//!
//! The kernel follows links (`openat2` with `RESOLVE_IN_ROOT`), so that neither `..` nor an absolute link leads out.
//! The result is a handle, and files are made through it by a name without slashes. Where the kernel has no `openat2`
//! (Linux before 5.6, an old container's filter, other systems), this module follows the links one by one.

use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

use super::links;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The root directory.
#[derive(Debug)]
pub struct Rooted {
    path: PathBuf,
    handle: OwnedFd,
}

/// A directory below a root.
#[derive(Debug)]
pub struct Directory {
    handle: OwnedFd,
    path: PathBuf,
    below: PathBuf,
}

impl Rooted {
    /// Opens the directory `path` as a root.
    ///
    /// # Errors
    ///
    /// If it is not a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let handle = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?;
        Ok(Self { path: path.to_owned(), handle })
    }

    /// Returns the directory that `below` leads to.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn find(&self, below: &Path) -> io::Result<Directory> {
        #[cfg(target_os = "linux")]
        match self.resolve(below) {
            // The system call is missing, or a filter refuses it.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOSYS | Errno::PERM)) => {}
            found => return found,
        }
        let below = self.follow(below)?;
        let handle = rustix::fs::openat(&self.handle, Path::new(".").join(&below), DIRECTORY, Mode::empty())?;
        Ok(self.directory(handle, below))
    }

    /// Returns the directory that `below` leads to, and makes all missing directories, including missing targets of
    /// links.
    ///
    /// # Errors
    ///
    /// If a parent is not a directory.
    pub fn make(&self, below: &Path) -> io::Result<Directory> {
        self.make_noting(below, &mut Vec::new())
    }

    /// As [`make`](Self::make). The directories that were missing are added to `made`.
    ///
    /// # Errors
    ///
    /// Those of [`make`](Self::make).
    pub fn make_noting(&self, below: &Path, made: &mut Vec<PathBuf>) -> io::Result<Directory> {
        self.make_within(below, &mut links::LIMIT.clone(), made)
    }

    fn make_within(&self, below: &Path, links: &mut usize, made: &mut Vec<PathBuf>) -> io::Result<Directory> {
        match self.find(below) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let (Some(above), Some(last)) = (below.parent(), below.components().next_back()) else {
            return self.find(below);
        };
        let above = self.make_within(above, links, made)?;
        let Component::Normal(name) = last else { return self.find(&above.below.join(last)) };
        match rustix::fs::readlinkat(&above.handle, name, Vec::new()) {
            Ok(target) => {
                *links = links.checked_sub(1).ok_or_else(links::too_many)?;
                self.make_within(&above.below.join(OsStr::from_bytes(target.to_bytes())), links, made)
            }
            Err(Errno::NOENT) => {
                above.create_directory(name)?;
                made.push(above.path.join(name));
                self.find(&above.below.join(name))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn directory(&self, handle: OwnedFd, below: PathBuf) -> Directory {
        let path = if below.as_os_str().is_empty() { self.path.clone() } else { self.path.join(&below) };
        Directory { handle, path, below }
    }

    #[cfg(target_os = "linux")]
    fn resolve(&self, below: &Path) -> io::Result<Directory> {
        use rustix::fs::{ResolveFlags, openat2};
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = loop {
            match openat2(&self.handle, below, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
                // A directory was renamed in the meantime.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::LOOP) => return Err(links::too_many()),
                opened => break opened?,
            }
        };
        let (root_path, found) = (real_path(&self.handle)?, real_path(&handle)?);
        let below = found.strip_prefix(&root_path).map_err(|_| invalid("it was moved out of the image"))?.to_owned();
        Ok(self.directory(handle, below))
    }

    /// Follows `below` link by link.
    fn follow(&self, below: &Path) -> io::Result<PathBuf> {
        links::follow(below, |here| fs::read_link(self.path.join(here)).ok().map(Cow::Owned))
    }
}

impl Directory {
    /// Returns the path of the directory, without links below the root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory in this directory.
    ///
    /// # Errors
    ///
    /// If the name exists.
    pub fn create_directory(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.handle, plain(name)?, Mode::from_raw_mode(0o755))?)
    }

    /// Makes a file in this directory.
    ///
    /// # Errors
    ///
    /// If the name exists.
    pub fn create_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, plain(name)?, flags, Mode::from_raw_mode(0o666))?.into())
    }

    /// Makes a link to `target` in this directory.
    ///
    /// # Errors
    ///
    /// If the name exists.
    pub fn symlink(&self, target: &Path, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.handle, plain(name)?)?)
    }

    /// Returns the target of a link in this directory.
    ///
    /// # Errors
    ///
    /// If it is not a link.
    pub fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(&self.handle, plain(name)?, Vec::new())?;
        Ok(OsStr::from_bytes(target.to_bytes()).into())
    }

    /// Gives the file `from` of `directory` a second name in this directory.
    ///
    /// # Errors
    ///
    /// If the file is missing, or the name exists.
    pub fn hard_link(&self, directory: &Self, from: &OsStr, name: &OsStr) -> io::Result<()> {
        let (from, name) = (plain(from)?, plain(name)?);
        Ok(rustix::fs::linkat(&directory.handle, from, &self.handle, name, AtFlags::empty())?)
    }

    /// Sets the permission bits of a directory in this directory.
    ///
    /// # Errors
    ///
    /// If it is a link.
    pub fn set_mode(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let handle = rustix::fs::openat(self.handle.as_fd(), plain(name)?, DIRECTORY, Mode::empty())?;
        Ok(rustix::fs::fchmod(handle, Mode::from_raw_mode(mode))?)
    }

    /// Removes a file or link, if it exists.
    ///
    /// # Errors
    ///
    /// If it is a directory.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.handle, plain(name)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the name if it has no slashes.
fn plain(name: &OsStr) -> io::Result<&OsStr> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(part)), None) if part == name => Ok(name),
        _ => Err(invalid("it is not a file name")),
    }
}

#[cfg(target_os = "linux")]
fn real_path(handle: &OwnedFd) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_and_dots_do_not_leave_the_root() {
        let top = tempfile::tempdir().unwrap();
        let (root, outside) = (top.path().join("root"), top.path().join("outside"));
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::create_dir(&outside).unwrap();
        for (target, name) in [
            (outside.as_path(), "absolute"),
            (Path::new("../../outside"), "relative"),
            (Path::new("usr/bin"), "bin"),
            (Path::new("/gone/there"), "missing"),
            (Path::new("loop"), "loop"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        let rooted = Rooted::open(&root).unwrap();
        let below = |directory: io::Result<Directory>| directory.map(|found| found.below).ok();
        // The kernel and this module return the same paths.
        for path in ["bin", "/bin", "usr/../bin", "../../bin", "absolute", "relative", "missing", "loop", "", "/"] {
            let path = Path::new(path);
            let followed = rooted.follow(path).ok().filter(|below| root.join(below).is_dir());
            assert_eq!(below(rooted.find(path)), followed, "{}", path.display());
        }
        assert_eq!(below(rooted.find(Path::new("bin"))).unwrap(), Path::new("usr/bin"));
        let inside = outside.strip_prefix("/").unwrap();
        assert_eq!(below(rooted.make(Path::new("absolute/new"))).unwrap(), inside.join("new"));
        assert_eq!(below(rooted.make(Path::new("relative/new"))).unwrap(), Path::new("outside/new"));
        assert_eq!(below(rooted.make(Path::new("missing/new"))).unwrap(), Path::new("gone/there/new"));
        assert!(rooted.make(Path::new("loop/new")).is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        let directory = rooted.find(Path::new("bin")).unwrap();
        for name in ["..", ".", "a/b", "/a", "", "a/"] {
            assert!(directory.create_file(OsStr::new(name)).is_err(), "{name:?}");
        }
    }
}
