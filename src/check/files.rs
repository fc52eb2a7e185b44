//! The files of an image: unpacked files, and store paths at their original location.
//!
//! ```text
//! ROOT/etc/passwd             unpacked; owner, group and mode are those of the layer
//! /nix/store/…-hello/bin      in the store; owner and group are root, as in every layer that strata makes
//! ```
//!
//! Links are followed as if the image's root were the root directory, independent of the files of this machine.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    budget, files,
    layer::{
        Owners, links,
        unpack::{self, Disk},
    },
    run::Split,
};

#[derive(Debug)]
pub struct ImageFiles {
    root: PathBuf,
    owners: Owners,
    mounts: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct ImageFile {
    /// Type and permission bits, including those that the file system here does not store.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// The path in the image, without links in its parent directories.
    path: PathBuf,
    /// The path on this machine.
    here: PathBuf,
}

impl ImageFiles {
    /// Unpacks an image without its mounted store paths to `root`, which is created.
    ///
    /// # Errors
    ///
    /// If a layer cannot be read or written.
    pub fn unpack(split: &Split, root: &Path) -> Result<Self> {
        fs::create_dir(root).with_context(|| format!("creating {}", root.display()))?;
        let (mut owners, mut disk) = (Owners::new(), Disk::default());
        for (at, layer) in split.image.layers.iter().enumerate() {
            layer
                .plain(|tar| unpack::unpack_within(tar, root, &mut owners, &mut disk))
                .with_context(|| format!("unpacking layer {}", at + 1))?;
        }
        let mounts = split.mounts.iter().map(|path| path.as_path().to_owned()).collect();
        Ok(Self { root: root.to_owned(), owners, mounts })
    }

    /// Returns the directory of the unpacked files.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the store paths that are not unpacked.
    pub fn mounts(&self) -> impl Iterator<Item = &Path> {
        self.mounts.iter().map(PathBuf::as_path)
    }

    /// Sets the permissions of the unpacked files to those of their layers, except for bits that a sandbox refuses.
    ///
    /// # Errors
    ///
    /// If the file system reports an error.
    pub fn set_permissions(&self) -> Result<()> {
        // Innermost first, since a directory may forbid access to its own files.
        for (path, owner) in self.owners.iter().rev() {
            if owner.mode & 0o170000 != 0o120000 && path.symlink_metadata().is_ok() {
                fs::set_permissions(path, Permissions::from_mode(owner.mode & 0o1777))
                    .with_context(|| format!("setting the mode of {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Returns the file at `path`. If it is a link, the link itself is returned.
    ///
    /// # Errors
    ///
    /// If it does not exist or cannot be read.
    pub fn find(&self, path: &Path) -> io::Result<ImageFile> {
        self.walk(path, false)
    }

    /// Returns the contents of the file that `path` leads to.
    ///
    /// # Errors
    ///
    /// If it is not a regular file, is larger than 256 MiB, or cannot be read.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.walk(path, true)?;
        match file.mode & 0o170000 {
            0o100000 => files::read_bounded(&file.here, &budget::TESTED_FILE),
            0o040000 => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory, not a file")),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a device or a pipe, not a file")),
        }
    }

    /// Returns the text of the file that `path` leads to, if it exists.
    pub fn text(&self, path: &str) -> Option<String> {
        self.read(Path::new(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn walk(&self, path: &Path, follows: bool) -> io::Result<ImageFile> {
        let parts = |path: &Path| path.components().rev().map(owned).collect::<Vec<_>>();
        let (mut left, mut remaining) = (parts(path), links::LIMIT);
        let mut file = self.file(Path::new("/"))?;
        while let Some(part) = left.pop() {
            match part {
                PathPart::Root => file = self.file(Path::new("/"))?,
                PathPart::Here => {}
                PathPart::Above => file = self.file(file.path.parent().unwrap_or(Path::new("/")))?,
                PathPart::Name(name) => {
                    if file.mode & 0o170000 != 0o040000 {
                        return Err(io::Error::new(
                            io::ErrorKind::NotADirectory,
                            "a part of its path is not a directory",
                        ));
                    }
                    let next = self.file(&file.path.join(name))?;
                    if next.mode & 0o170000 == 0o120000 && (follows || !left.is_empty()) {
                        remaining = remaining.checked_sub(1).ok_or_else(links::too_many)?;
                        left.extend(parts(&fs::read_link(&next.here)?));
                    } else {
                        file = next;
                    }
                }
            }
        }
        Ok(file)
    }

    /// Returns the file at a path without links.
    fn file(&self, path: &Path) -> io::Result<ImageFile> {
        let in_store = path.ancestors().any(|above| self.mounts.contains(above));
        let here = match path.strip_prefix("/") {
            Ok(below) if !in_store && !below.as_os_str().is_empty() => self.root.join(below),
            Ok(_) if !in_store => self.root.clone(),
            _ => path.to_owned(),
        };
        let metadata = fs::symlink_metadata(&here)?;
        // Links have no mode of their own on Linux.
        let file_mode = if metadata.is_symlink() { 0o120777 } else { metadata.mode() };
        let mut file = ImageFile { mode: file_mode, uid: 0, gid: 0, path: path.to_owned(), here };
        match self.owners.get(&file.here).filter(|_| !in_store) {
            Some(owner) => {
                let is_link = owner.mode & 0o170000 == 0o120000;
                (file.uid, file.gid) = (owner.uid, owner.gid);
                file.mode = if is_link { 0o120777 } else { owner.mode };
            }
            // Directories without an entry in a layer.
            None if !in_store && metadata.is_dir() => file.mode = 0o040755,
            None => {}
        }
        Ok(file)
    }
}

enum PathPart {
    Root,
    Above,
    Here,
    Name(OsString),
}

fn owned(component: Component<'_>) -> PathPart {
    match component {
        Component::RootDir | Component::Prefix(_) => PathPart::Root,
        Component::ParentDir => PathPart::Above,
        Component::CurDir => PathPart::Here,
        Component::Normal(name) => PathPart::Name(name.to_owned()),
    }
}

/// Returns type and permissions in the format of Go: `-rw-r--r--`, `Lrwxrwxrwx`, `dtrwxrwxrwx` (Go, src/io/fs/fs.go,
/// `FileMode.String`).
pub fn mode_text(mode: u32) -> String {
    let kind = mode & 0o170000;
    let types = [
        ("d", kind == 0o040000),
        ("L", kind == 0o120000),
        ("D", matches!(kind, 0o020000 | 0o060000)),
        ("p", kind == 0o010000),
        ("S", kind == 0o140000),
        ("u", mode & 0o4000 != 0),
        ("g", mode & 0o2000 != 0),
        ("c", kind == 0o020000),
        ("t", mode & 0o1000 != 0),
    ];
    let mut text: String = types.iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| *letter).collect();
    if text.is_empty() {
        text.push('-');
    }
    for (at, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode & (0o400 >> at) != 0 { letter } else { '-' });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::layer::Owner;

    #[test]
    fn modes_are_printed_as_by_go() {
        for (mode, text) in [
            (0o100644, "-rw-r--r--"),
            (0o040755, "drwxr-xr-x"),
            (0o120777, "Lrwxrwxrwx"),
            (0o104755, "urwxr-xr-x"),
            (0o102755, "grwxr-xr-x"),
            (0o041777, "dtrwxrwxrwx"),
            (0o020666, "Dcrw-rw-rw-"),
            (0o060660, "Drw-rw----"),
            (0o010600, "prw-------"),
        ] {
            assert_eq!(mode_text(mode), text);
        }
    }

    #[test]
    fn links_stay_in_the_image_and_lead_into_store_paths() {
        let top = tempfile::tempdir().unwrap();
        let (root, store) = (top.path().join("root"), top.path().join("store"));
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::create_dir_all(store.join("bin")).unwrap();
        fs::write(store.join("bin/hello"), "hello").unwrap();
        fs::write(root.join("usr/bin/own"), "own").unwrap();
        symlink("/usr/bin", root.join("bin")).unwrap();
        symlink(store.join("bin/hello"), root.join("usr/bin/hello")).unwrap();
        symlink("../../../etc/passwd", root.join("usr/passwd")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let owners = Owners::from([(root.join("usr/bin/own"), Owner { mode: 0o104755, uid: 7, ..Owner::default() })]);
        // Like Split, this makes the mount point as a directory below the root.
        let below = root.join(store.strip_prefix("/").unwrap());
        fs::create_dir_all(below).unwrap();
        let files = ImageFiles { root, owners, mounts: BTreeSet::from([store.clone()]) };
        let find = |path: &str| files.find(Path::new(path));
        assert_eq!((find("/bin/own").unwrap().mode, find("bin/../bin/own").unwrap().uid), (0o104755, 7));
        assert_eq!(find("/bin").unwrap().mode, 0o120777);
        assert_eq!(find("/").unwrap().mode, 0o040755);
        assert_eq!(files.text("/bin/hello").unwrap(), "hello");
        assert_eq!(find(store.join("bin").to_str().unwrap()).unwrap().mode & 0o170000, 0o040000);
        assert!(files.text("/usr/passwd").is_none() && find("/bin/own/x").is_err());
        assert!(files.read(Path::new("/loop")).unwrap_err().to_string().contains("symlinks"));
        assert!(files.read(Path::new("/usr")).unwrap_err().to_string().contains("a directory"));
    }
}
