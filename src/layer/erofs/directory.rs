//! Directories: blocks of entries in bytewise order, with `.` and `..`.
//!
//! ```text
//! entry 0, entry 1, …, name 0 name 1 …      the offset of name 0 determines the number of entries
//! ```
//!
//! Each block has as many entries as fit. All blocks except the last are padded with zeros.

use std::ops::Range;

use super::{
    BLOCK,
    disk::{self, DIRENT},
    inode::{Id, Inode, InodeContent, InodeDirectory},
};

/// The entries of a directory, and their distribution to blocks.
pub(super) struct Entries<'a> {
    all: Vec<(&'a [u8], Id)>,
    blocks: Vec<Range<usize>>,
}

impl<'a> Entries<'a> {
    /// Creates the entries of the directory `own`, whose parent directory is `parent`.
    pub fn new(directory: &'a InodeDirectory, own: Id, parent: Id) -> Self {
        let mut all: Vec<(&[u8], Id)> = vec![(b".", own), (b"..", parent)];
        all.extend(directory.children.iter().map(|(name, id)| (name.as_slice(), *id)));
        all.sort_unstable();
        let (mut blocks, mut start, mut used) = (Vec::new(), 0, 0);
        for (at, (name, _)) in all.iter().enumerate() {
            let size = DIRENT + name.len();
            if used + size > BLOCK as usize {
                blocks.push(start..at);
                (start, used) = (at, 0);
            }
            used += size;
        }
        blocks.push(start..all.len());
        Self { all, blocks }
    }

    /// Returns the number of padded blocks.
    pub fn full_blocks(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    /// Returns the number of bytes in the last block.
    pub fn tail_size(&self) -> u64 {
        let last = self.blocks.last().cloned().unwrap_or_default();
        self.all[last].iter().map(|(name, _)| (DIRENT + name.len()) as u64).sum()
    }

    /// Returns the last block without padding.
    pub fn tail(&self, inodes: &[Inode], number: impl Fn(Id) -> u64) -> Vec<u8> {
        self.block(self.blocks.len() - 1, inodes, &number)
    }

    /// Returns the other blocks with padding, and also the last block if `is_whole` is true.
    pub fn blocks(&self, is_whole: bool, inodes: &[Inode], number: impl Fn(Id) -> u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for at in 0..self.blocks.len() - usize::from(!is_whole) {
            bytes.extend(self.block(at, inodes, &number));
            bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
        }
        bytes
    }

    fn block(&self, at: usize, inodes: &[Inode], number: &impl Fn(Id) -> u64) -> Vec<u8> {
        let entries = &self.all[self.blocks[at].clone()];
        let mut bytes = Vec::new();
        let mut name_at = entries.len() * DIRENT;
        for (name, id) in entries {
            bytes.extend(number(*id).to_le_bytes());
            bytes.extend((name_at as u16).to_le_bytes());
            bytes.extend([disk::entry_type(&inodes[*id].content), 0]);
            name_at += name.len();
        }
        entries.iter().for_each(|(name, _)| bytes.extend(*name));
        bytes
    }
}

/// Returns the directory, if the inode is one.
pub(super) fn as_directory(inode: &Inode) -> Option<&InodeDirectory> {
    match &inode.content {
        InodeContent::Directory(directory) => Some(directory),
        _ => None,
    }
}
