//! Makes the inodes of an image from the entries of a layer.

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt, path::Path};

use tar::EntryType;

use super::{
    area::Area,
    disk,
    inode::{Id, Inode, InodeContent, InodeDirectory},
};
use crate::layer::{
    links,
    overlay::{LayerEffect, LayerLinks},
    unpack::Bounds,
    untar::{TarEntry, Xattrs},
    whiteout::Marker,
};

/// The maximum length of a file name on Linux, in bytes.
const NAME_LIMIT: usize = 255;
/// The maximum length of a link target, in bytes. With its NUL, it fills a page.
const TARGET_LIMIT: usize = links::PATH_LIMIT;

/// Makes inodes from entries. Regular files are appended to the area by the caller.
pub(super) struct InodeBuilder<'a> {
    pub area: Area<'a>,
    inodes: Vec<Inode>,
    links: LayerLinks,
    bounds: Bounds,
}

impl<'a> InodeBuilder<'a> {
    pub fn new(area: Area<'a>) -> Self {
        Self { area, inodes: vec![Inode::implied(false)], links: LayerLinks::default(), bounds: Bounds::default() }
    }

    /// Returns the area and all inodes.
    pub fn finish(self) -> (Area<'a>, Vec<Inode>) {
        (self.area, self.inodes)
    }

    /// Adds an entry. Returns whether it is a file whose content the caller has to append to the area.
    ///
    /// # Errors
    ///
    /// If engines refuse the entry, or an image cannot hold it.
    pub fn begin(&mut self, entry: &TarEntry) -> io::Result<bool> {
        let name = Path::new(OsStr::from_bytes(&entry.name));
        self.bounds.entry(name)?;
        self.bounds.keep(name)?;
        let last = entry.name.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()).unwrap_or_default();
        if Marker::is_of_aufs(last) && Marker::parse(last) != Some(Marker::Opaque) {
            return Ok(false);
        }
        match self.links.place(entry)? {
            None if entry.kind == EntryType::Directory => {
                let root = self.inode(entry, InodeContent::Directory(InodeDirectory::default()))?;
                self.replace(0, root);
                Ok(false)
            }
            None => Err(invalid("the root is not a directory")),
            Some(LayerEffect::Opaque(path)) => {
                let id = self.directory(&path)?;
                self.directory_mut(id)?.is_opaque = true;
                Ok(false)
            }
            Some(LayerEffect::Whiteout(path)) => self.whiteout(&path).map(|()| false),
            Some(LayerEffect::At(path)) => self.add(&path, entry),
        }
    }

    fn add(&mut self, path: &[u8], entry: &TarEntry) -> io::Result<bool> {
        let content = match entry.kind {
            EntryType::Directory => InodeContent::Directory(InodeDirectory::default()),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let size = entry.holes.as_ref().map_or(entry.size, |sparse| sparse.size);
                InodeContent::File(size, self.area.next_block()?)
            }
            EntryType::Symlink if entry.link.is_empty() || entry.link.len() > TARGET_LIMIT => {
                return Err(invalid("a link whose target is empty or longer than 4095 bytes"));
            }
            EntryType::Symlink => InodeContent::Symlink(entry.link.clone()),
            EntryType::Char => InodeContent::Special(disk::CHARACTER_DEVICE, entry.device),
            EntryType::Block => InodeContent::Special(disk::BLOCK_DEVICE, entry.device),
            EntryType::Fifo => InodeContent::Special(disk::PIPE, (0, 0)),
            EntryType::Link => return self.hard_link(path, entry).map(|()| false),
            // Engines refuse other types (containerd, pkg/archive/tar.go, createTarFile).
            kind => {
                return Err(invalid(format!(
                    "an entry of the type {:?}, which engines refuse",
                    char::from(kind.as_byte())
                )));
            }
        };
        let is_file = matches!(content, InodeContent::File(..));
        let inode = self.inode(entry, content)?;
        let (directory, name) = self.parent(path)?;
        let existing = self.child(directory, &name)?.filter(|id| {
            let is_directory = matches!(inode.content, InodeContent::Directory(_));
            is_directory && matches!(self.inodes[*id].content, InodeContent::Directory(_) | InodeContent::Whiteout)
        });
        match existing {
            Some(id) => self.replace(id, inode),
            None => self.insert(directory, name, inode)?,
        }
        Ok(is_file)
    }

    /// Sets the metadata of the directory `id`. If `id` is a whiteout, it becomes an opaque directory, which still hides the lower
    /// directory.
    fn replace(&mut self, id: Id, mut inode: Inode) {
        let directory = match std::mem::replace(&mut self.inodes[id].content, InodeContent::Whiteout) {
            InodeContent::Directory(directory) => directory,
            _ => InodeDirectory { is_opaque: true, ..InodeDirectory::default() },
        };
        inode.content = InodeContent::Directory(directory);
        self.inodes[id] = inode;
    }

    fn whiteout(&mut self, path: &[u8]) -> io::Result<()> {
        let (directory, name) = self.parent(path)?;
        match self.child(directory, &name)? {
            None => self.insert(directory, name, Inode::whiteout()),
            Some(id) => {
                if let InodeContent::Directory(directory) = &mut self.inodes[id].content {
                    directory.is_opaque = true;
                }
                Ok(())
            }
        }
    }

    /// Adds a name of an existing file. The file gets the owner, the mode, the time and the attributes of the entry, as in engines
    /// (containerd, pkg/archive/tar.go, createTarFile; containers/storage, pkg/archive/archive.go, extractTarFileEntry).
    fn hard_link(&mut self, path: &[u8], entry: &TarEntry) -> io::Result<()> {
        let target = self.links.hard_link_target(entry)?;
        if target == path {
            return Err(invalid("it is a hard link to itself"));
        }
        let (directory, name) = self.parent(path)?;
        // Engines remove an existing file, and everything below it, before they search the target.
        self.directory_mut(directory)?.children.remove(&name);
        let id = self.find_file(&target)?;
        let Inode { mode, uid, gid, mtime, xattrs, .. } = self.inode(entry, InodeContent::Whiteout)?;
        let file = &mut self.inodes[id];
        // Links have no mode of their own (containerd, pkg/archive/tar_mostunix.go, lchmod).
        if !matches!(file.content, InodeContent::Symlink(_)) {
            file.mode = mode;
        }
        (file.uid, file.gid, file.mtime) = (uid, gid, mtime);
        file.xattrs.extend(xattrs);
        disk::check_xattrs(&file.xattrs)?;
        self.directory_mut(directory)?.children.insert(name, id);
        Ok(())
    }

    /// Returns the file of the layer at a path.
    fn find_file(&self, target: &[u8]) -> io::Result<Id> {
        let missing = || {
            let what = format!("it is a hard link to {}, which is not a file of the same layer", target.escape_ascii());
            io::Error::new(io::ErrorKind::NotFound, what)
        };
        let mut id = 0;
        for part in parts(target) {
            let InodeContent::Directory(directory) = &self.inodes[id].content else { return Err(missing()) };
            id = *directory.children.get(part).ok_or_else(missing)?;
        }
        match self.inodes[id].content {
            InodeContent::Directory(_) | InodeContent::Whiteout => Err(missing()),
            _ => Ok(id),
        }
    }

    /// Returns the parent directory of a path, which is created if it is missing, and the last part of the path.
    fn parent(&mut self, path: &[u8]) -> io::Result<(Id, Vec<u8>)> {
        let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        if name.len() > NAME_LIMIT {
            return Err(invalid("a name of more than 255 bytes"));
        }
        Ok((self.directory(directory)?, name.to_vec()))
    }

    /// Returns the directory at a path, which is created if it is missing.
    fn directory(&mut self, path: &[u8]) -> io::Result<Id> {
        let mut id = 0;
        for part in parts(path) {
            let child = self.child(id, part)?;
            id = match child {
                Some(child) => match self.inodes[child].content {
                    InodeContent::Directory(_) => child,
                    InodeContent::Whiteout => {
                        self.inodes[child] = Inode::implied(true);
                        child
                    }
                    _ => return Err(invalid(format!("{} is not a directory", part.escape_ascii()))),
                },
                None if part.len() > NAME_LIMIT => return Err(invalid("a name of more than 255 bytes")),
                None => {
                    self.bounds.entry(Path::new(OsStr::from_bytes(part)))?;
                    self.bounds.keep(Path::new(OsStr::from_bytes(part)))?;
                    self.insert(id, part.to_vec(), Inode::implied(false))?;
                    self.inodes.len() - 1
                }
            };
        }
        Ok(id)
    }

    fn child(&mut self, directory: Id, name: &[u8]) -> io::Result<Option<Id>> {
        Ok(self.directory_mut(directory)?.children.get(name).copied())
    }

    fn insert(&mut self, directory: Id, name: Vec<u8>, inode: Inode) -> io::Result<()> {
        let id = self.inodes.len();
        self.inodes.push(inode);
        self.directory_mut(directory)?.children.insert(name, id);
        Ok(())
    }

    fn directory_mut(&mut self, id: Id) -> io::Result<&mut InodeDirectory> {
        match &mut self.inodes[id].content {
            InodeContent::Directory(directory) => Ok(directory),
            _ => Err(invalid("a directory above it is not a directory")),
        }
    }

    fn inode(&self, entry: &TarEntry, content: InodeContent) -> io::Result<Inode> {
        let id = |id: u64| u32::try_from(id).map_err(|_| invalid("an owner that no kernel has"));
        let xattrs = entry.xattrs.iter().filter(|(name, _)| disk::is_kept(name));
        let xattrs: Xattrs = xattrs.map(|(name, value)| (name.clone(), value.clone())).collect();
        disk::check_xattrs(&xattrs)?;
        let (uid, gid) = (id(entry.uid)?, id(entry.gid)?);
        Ok(Inode { mode: entry.mode, uid, gid, mtime: entry.mtime.unwrap_or(0), xattrs, content })
    }
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
