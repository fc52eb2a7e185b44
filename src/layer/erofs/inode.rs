//! The inodes of an image, before they have positions.

use std::collections::BTreeMap;

use crate::layer::untar::Xattrs;

/// The index of an inode in the order of creation. The root directory has index 0.
pub(super) type Id = usize;

#[derive(Debug)]
pub(super) struct Inode {
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since the epoch.
    pub mtime: u64,
    pub xattrs: Xattrs,
    pub content: InodeContent,
}

#[derive(Debug)]
pub(super) enum InodeContent {
    Directory(InodeDirectory),
    /// A regular file with its size in bytes and its first block.
    File(u64, u32),
    Symlink(Vec<u8>),
    /// A device or a pipe with the bits of its type, its major number and its minor number.
    Special(u32, (u64, u64)),
    /// A whiteout, which hides a file of lower layers.
    Whiteout,
}

#[derive(Debug, Default)]
pub(super) struct InodeDirectory {
    pub children: BTreeMap<Vec<u8>, Id>,
    /// Whether the directory hides its files of lower layers.
    pub is_opaque: bool,
}

impl Inode {
    /// Creates a directory without an entry in the layer.
    pub fn implied(is_opaque: bool) -> Self {
        let content = InodeContent::Directory(InodeDirectory { is_opaque, ..InodeDirectory::default() });
        Self { mode: 0o755, uid: 0, gid: 0, mtime: 0, xattrs: Xattrs::new(), content }
    }

    pub fn whiteout() -> Self {
        Self { mode: 0, content: InodeContent::Whiteout, ..Self::implied(false) }
    }
}
