//! Assigns positions to inodes and directories, which follow the contents of files.
//!
//! Inodes are in the order of their paths, each directory before its files. Neither an inode nor the part of the content that
//! follows it crosses the end of a block. If it would, the inode begins the next block. Content that does not fit there is
//! stored in separate blocks. The target of a link is in the block of its inode, or in a separate block.

use std::io::{self, Write};

use super::{
    BLOCK,
    build::InodeBuilder,
    directory::{self, Entries},
    disk::{self, INODE, PlacedInode, SLOT, Storage, Superblock},
    inode::{Id, Inode, InodeContent},
};
use crate::oci::Digest;

/// The number of the root directory. It is not 0, because programs treat entries with the number 0 as deleted.
const ROOT: u64 = 2;

/// An inode of the image.
struct InodePlace {
    id: Id,
    parent: Id,
    /// The position in bytes from the start of the metadata.
    position: u64,
    placed: PlacedInode,
}

/// All inodes of the image, in order.
struct InodeLayout {
    places: Vec<InodePlace>,
    /// The number of each inode, by its index.
    numbers: Vec<u64>,
    metadata_blocks: u64,
    directory_blocks: u64,
}

/// Writes the metadata and the superblock.
pub(super) fn write(builder: InodeBuilder<'_>, diff_id: &Digest) -> io::Result<()> {
    let (mut area, inodes) = builder.finish();
    let metadata = area.next_block()?;
    let layout = InodeLayout::new(&inodes, metadata)?;
    let blocks = u64::from(metadata) + layout.metadata_blocks + layout.directory_blocks;
    let too_big = |_| io::Error::new(io::ErrorKind::FileTooLarge, "the layer is too big for an EROFS image");
    let blocks = u32::try_from(blocks).map_err(too_big)?;
    layout.write(&inodes, &mut area)?;
    let superblock = Superblock { root: ROOT as u16, inodes: layout.places.len() as u64, blocks, metadata };
    area.finish(|hash| {
        let mut block = superblock.block();
        let uuid = super::check::uuid(hash, &block, diff_id);
        disk::seal(&mut block, &uuid);
        block
    })
}

impl InodeLayout {
    fn new(inodes: &[Inode], metadata: u32) -> io::Result<Self> {
        let (order, links) = order(inodes);
        let mut layout = Self {
            places: Vec::with_capacity(order.len()),
            numbers: vec![0; inodes.len()],
            metadata_blocks: 0,
            directory_blocks: 0,
        };
        let mut end = ROOT * SLOT;
        for (id, parent) in order {
            end = layout.place(inodes, id, parent, end)?;
            if let Some(place) = layout.places.last_mut() {
                place.placed.links = links[id];
            }
        }
        layout.metadata_blocks = end.div_ceil(BLOCK);
        let first = u64::from(metadata) + layout.metadata_blocks;
        for place in &mut layout.places {
            if let (
                Storage::Blocks(block) | Storage::Inline(block),
                InodeContent::Directory(_) | InodeContent::Symlink(_),
            ) = (&mut place.placed.storage, &inodes[place.id].content)
            {
                let absolute = first + u64::from(*block);
                *block = u32::try_from(absolute).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
            }
        }
        Ok(layout)
    }

    /// Places an inode at or after `end`, and returns its end. Blocks of directories are counted from 0 here.
    fn place(&mut self, inodes: &[Inode], id: Id, parent: Id, end: u64) -> io::Result<u64> {
        let inode = &inodes[id];
        let head = INODE + disk::xattrs_size(inode);
        let (full_blocks, tail) = match &inode.content {
            InodeContent::Directory(directory) => {
                let entries = Entries::new(directory, id, parent);
                (entries.full_blocks(), entries.tail_size())
            }
            InodeContent::Symlink(target) => (0, target.len() as u64),
            InodeContent::File(..) | InodeContent::Special(..) | InodeContent::Whiteout => (0, 0),
        };
        let mut position = end.next_multiple_of(SLOT);
        let crosses = |start: u64, size: u64| size > 0 && start % BLOCK + size > BLOCK;
        // Linux refuses a link whose inode, attributes and target are inline and in more than one block (fs/erofs/inode.c,
        // erofs_fill_symlink), until its fix of 2024 ("erofs: fix incorrect symlink detection in fast symlink").
        let is_split = |position: u64| match inode.content {
            InodeContent::Symlink(_) => crosses(position, head + tail),
            _ => crosses(position + head, tail),
        };
        if crosses(position, INODE) || is_split(position) {
            position = position.next_multiple_of(BLOCK);
        }
        let is_inline = tail > 0 && !is_split(position);
        let own_block =
            u32::try_from(self.directory_blocks).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let storage = match inode.content {
            InodeContent::File(_, block) => Storage::Blocks(block),
            _ if is_inline => Storage::Inline(own_block),
            _ => Storage::Blocks(own_block),
        };
        let size = match inode.content {
            InodeContent::File(size, _) => size,
            _ => full_blocks * BLOCK + tail,
        };
        self.directory_blocks += full_blocks + u64::from(tail > 0 && !is_inline);
        self.numbers[id] = position / SLOT;
        let ino = u32::try_from(self.places.len() + 1).unwrap_or(u32::MAX);
        self.places.push(InodePlace { id, parent, position, placed: PlacedInode { ino, links: 1, size, storage } });
        Ok(position + head + if is_inline { tail } else { 0 })
    }

    fn write(&self, inodes: &[Inode], out: &mut impl Write) -> io::Result<()> {
        let number = |id: Id| self.numbers[id];
        let mut written = 0;
        for place in &self.places {
            let inode = &inodes[place.id];
            fill(out, &mut written, place.position)?;
            let mut bytes = disk::inode(inode, &place.placed).to_vec();
            bytes.extend(disk::xattrs(inode));
            if let Storage::Inline(_) = place.placed.storage {
                match &inode.content {
                    InodeContent::Directory(directory) => {
                        bytes.extend(Entries::new(directory, place.id, place.parent).tail(inodes, number));
                    }
                    InodeContent::Symlink(target) => bytes.extend(target),
                    InodeContent::File(..) | InodeContent::Special(..) | InodeContent::Whiteout => {}
                }
            }
            out.write_all(&bytes)?;
            written += bytes.len() as u64;
        }
        fill(out, &mut written, self.metadata_blocks * BLOCK)?;
        for place in &self.places {
            let inode = &inodes[place.id];
            let is_whole = matches!(place.placed.storage, Storage::Blocks(_));
            if let Some(directory) = directory::as_directory(inode) {
                let entries = Entries::new(directory, place.id, place.parent);
                out.write_all(&entries.blocks(is_whole, inodes, number))?;
            } else if let (InodeContent::Symlink(target), true) = (&inode.content, is_whole) {
                let mut block = target.clone();
                block.resize(BLOCK as usize, 0);
                out.write_all(&block)?;
            }
        }
        Ok(())
    }
}

/// Writes zeros up to a position.
fn fill(out: &mut impl Write, written: &mut u64, position: u64) -> io::Result<()> {
    const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
    out.write_all(&ZEROS[..(position - *written) as usize])?;
    *written = position;
    Ok(())
}

/// Returns the inodes below the root directory, each with its directory, in the order of their first paths, and the number of
/// links of each inode.
fn order(inodes: &[Inode]) -> (Vec<(Id, Id)>, Vec<u32>) {
    let mut links = vec![0_u32; inodes.len()];
    let mut order = Vec::new();
    // A stack instead of recursion, because the layer determines the depth of directories.
    let mut next = vec![(0, 0)];
    while let Some((id, parent)) = next.pop() {
        let is_first = links[id] == 0;
        links[id] += 1;
        if !is_first {
            continue;
        }
        order.push((id, parent));
        if let Some(directory) = directory::as_directory(&inodes[id]) {
            // `.`, and `..` of each directory in it.
            links[id] += 1;
            links[parent] += u32::from(id != parent);
            next.extend(directory.children.values().rev().map(|child| (*child, id)));
        }
    }
    (order, links)
}
