//! The structures of an image (Linux, fs/erofs/erofs_fs.h).
//!
//! ```text
//! superblock   128 bytes at 1024: magic, CRC-32C of bytes 1024 to 4095, features, number of the root, sizes, UUID
//! inode        64 bytes: layout, mode, size, block or device, owner, time, links
//! xattrs       12 bytes, then for each: length of its name, prefix, length of its value, name, value, up to 4 bytes
//! dirent       12 bytes: number of the inode, offset of the name, type
//! ```

use std::io;

use crc::{CRC_32_ISCSI, Crc};

use super::{
    BLOCK,
    inode::{Inode, InodeContent},
};
use crate::layer::untar::Xattrs;

const MAGIC: u32 = 0xe0f5_e1e2;
/// The position of the superblock.
pub(super) const SUPERBLOCK: usize = 1024;
/// The positions of fields of the superblock.
const CHECKSUM: usize = SUPERBLOCK + 4;
const BLOCKS: usize = SUPERBLOCK + 36;
const UUID: usize = SUPERBLOCK + 48;
/// Compatible features: the superblock has a checksum, and inodes have modification times.
const FEATURES: u32 = 1 | 2;

/// The unit in bytes of the positions that are the numbers of inodes.
pub(super) const SLOT: u64 = 32;
/// The size of an inode in bytes. The short form has no modification time.
pub(super) const INODE: u64 = 64;
/// The size of a directory entry in bytes, without its name.
pub(super) const DIRENT: usize = 12;

pub(super) const PIPE: u32 = 0o010_000;
pub(super) const CHARACTER_DEVICE: u32 = 0o020_000;
pub(super) const BLOCK_DEVICE: u32 = 0o060_000;

/// The prefixes of the names of extended attributes, and their numbers.
const PREFIXES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
];
/// The prefix of attributes that overlayfs interprets. They hide files, or redirect to other files.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
const OPAQUE: (&[u8], &[u8]) = (b"trusted.overlay.opaque", b"y");
/// The size of the header before the attributes of an inode: a filter of names, which is unused, and the number of shared
/// attributes.
const XATTR_HEADER: u64 = 12;
/// The maximum length of a name without its prefix, and of a value.
const XATTR_LIMITS: (usize, usize) = (255, 65535);

/// The location of the content of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// The content is in blocks, from this block on. Devices have no content.
    Blocks(u32),
    /// The content is in blocks, except for its last part, which follows the inode.
    Inline(u32),
}

/// An inode with its number and the location of its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlacedInode {
    /// The inode number on 32-bit systems.
    pub ino: u32,
    pub links: u32,
    /// The size of the content in bytes.
    pub size: u64,
    pub storage: Storage,
}

/// Encodes the inode without its attributes.
pub(super) fn inode(inode: &Inode, placed: &PlacedInode) -> [u8; INODE as usize] {
    let (layout, block) = match placed.storage {
        Storage::Blocks(block) => (0_u16, block),
        Storage::Inline(block) => (2, block),
    };
    let data = match inode.content {
        InodeContent::Special(_, device) => device_number(device),
        InodeContent::Whiteout => 0,
        _ => block,
    };
    let mut bytes = [0; INODE as usize];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &(1_u16 | layout << 1).to_le_bytes());
    put(2, &xattr_count(inode).to_le_bytes());
    put(4, &((file_type(&inode.content) | inode.mode) as u16).to_le_bytes());
    put(8, &placed.size.to_le_bytes());
    put(16, &data.to_le_bytes());
    put(20, &placed.ino.to_le_bytes());
    put(24, &inode.uid.to_le_bytes());
    put(28, &inode.gid.to_le_bytes());
    put(32, &inode.mtime.to_le_bytes());
    put(44, &placed.links.to_le_bytes());
    bytes
}

/// Returns the type of a file as bits of its mode.
fn file_type(content: &InodeContent) -> u32 {
    match content {
        InodeContent::Directory(_) => 0o040_000,
        InodeContent::File(..) => 0o100_000,
        InodeContent::Symlink(_) => 0o120_000,
        InodeContent::Special(kind, _) => *kind,
        InodeContent::Whiteout => CHARACTER_DEVICE,
    }
}

/// Returns the type of a file in a directory entry (`include/linux/fs_types.h`).
pub(super) fn entry_type(content: &InodeContent) -> u8 {
    match file_type(content) {
        0o100_000 => 1,
        0o040_000 => 2,
        CHARACTER_DEVICE => 3,
        BLOCK_DEVICE => 4,
        PIPE => 5,
        _ => 7,
    }
}

/// Encodes the number of a device (`new_encode_dev` in `include/linux/kdev_t.h`).
fn device_number((major, minor): (u64, u64)) -> u32 {
    (minor & 0xff | major << 8 | (minor & !0xff) << 12) as u32
}

/// Whether an attribute of a layer is kept.
pub(super) fn is_kept(name: &[u8]) -> bool {
    prefix(name).is_some() && !OVERLAY.iter().any(|overlay| name.starts_with(overlay))
}

/// Returns the number of the prefix, and the rest of the name, which is empty for ACLs.
fn prefix(name: &[u8]) -> Option<(u8, &[u8])> {
    let found = PREFIXES.iter().find_map(|(number, prefix)| Some((*number, name.strip_prefix(*prefix)?)))?;
    let is_acl = matches!(found.0, 2 | 3);
    (is_acl == found.1.is_empty()).then_some(found)
}

/// Checks that an image can hold these attributes and the opaque attribute of overlayfs.
///
/// # Errors
///
/// If one attribute is too long, or all attributes together are.
pub(super) fn check_xattrs(xattrs: &Xattrs) -> io::Result<()> {
    let (name_limit, value_limit) = XATTR_LIMITS;
    let is_long = |(name, value): (&Vec<u8>, &Vec<u8>)| {
        prefix(name).is_none_or(|(_, rest)| rest.len() > name_limit) || value.len() > value_limit
    };
    let size = xattrs.iter().map(|(name, value)| xattr_size(name, value)).sum::<u64>();
    let limit = u64::from(u16::MAX - 1) * 4 - xattr_size(OPAQUE.0, OPAQUE.1);
    if xattrs.iter().any(is_long) || size > limit {
        let what = "extended attributes that are too long for an EROFS image";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(())
}

fn xattr_size(name: &[u8], value: &[u8]) -> u64 {
    let rest = prefix(name).map_or(0, |(_, rest)| rest.len());
    ((4 + rest + value.len()) as u64).next_multiple_of(4)
}

/// Returns the attributes of an inode in the order of their names, including the attribute of an opaque directory.
fn all_xattrs(inode: &Inode) -> Vec<(&[u8], &[u8])> {
    let mut all: Vec<(&[u8], &[u8])> =
        inode.xattrs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    if matches!(&inode.content, InodeContent::Directory(directory) if directory.is_opaque) {
        all.push(OPAQUE);
        all.sort_unstable();
    }
    all
}

/// Returns the size of all attributes of an inode in bytes.
pub(super) fn xattrs_size(inode: &Inode) -> u64 {
    match all_xattrs(inode).iter().map(|(name, value)| xattr_size(name, value)).sum() {
        0 => 0,
        size => XATTR_HEADER + size,
    }
}

/// Returns the size in the units of the inode's field.
fn xattr_count(inode: &Inode) -> u16 {
    match xattrs_size(inode) {
        0 => 0,
        size => u16::try_from((size - XATTR_HEADER) / 4 + 1).unwrap_or(u16::MAX),
    }
}

/// Encodes the attributes of an inode.
pub(super) fn xattrs(inode: &Inode) -> Vec<u8> {
    let all = all_xattrs(inode);
    let mut bytes = match all.is_empty() {
        true => Vec::new(),
        false => vec![0; XATTR_HEADER as usize],
    };
    for (name, value) in all {
        let (number, rest) = prefix(name).unwrap_or((0, name));
        bytes.extend([rest.len() as u8, number]);
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(rest);
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// The fields of the superblock that depend on the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Superblock {
    /// The number of the root directory.
    pub root: u16,
    pub inodes: u64,
    pub blocks: u32,
    /// The block from which the numbers of inodes count.
    pub metadata: u32,
}

impl Superblock {
    /// Encodes the first block without UUID and checksum.
    pub fn block(&self) -> [u8; BLOCK as usize] {
        let mut block = [0; BLOCK as usize];
        let mut put = |at: usize, value: &[u8]| block[SUPERBLOCK + at..][..value.len()].copy_from_slice(value);
        put(0, &MAGIC.to_le_bytes());
        put(8, &FEATURES.to_le_bytes());
        put(12, &[BLOCK.trailing_zeros() as u8]);
        put(14, &self.root.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(BLOCKS - SUPERBLOCK, &self.blocks.to_le_bytes());
        put(40, &self.metadata.to_le_bytes());
        block
    }
}

/// Sets the UUID and the checksum of the first block.
pub(super) fn seal(block: &mut [u8; BLOCK as usize], uuid: &[u8]) {
    block[UUID..UUID + 16].copy_from_slice(&uuid[..16]);
    // Linux computes it without the last step of the standard's CRC (erofs_superblock_csum_verify).
    let checksum = !Crc::<u32>::new(&CRC_32_ISCSI).checksum(&block[SUPERBLOCK..]);
    block[CHECKSUM..CHECKSUM + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// Removes the UUID and the checksum from the first block. Returns the UUID and the number of blocks.
pub(super) fn unseal(block: &mut [u8; BLOCK as usize]) -> ([u8; 16], u32) {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&block[UUID..UUID + 16]);
    block[UUID..UUID + 16].fill(0);
    block[CHECKSUM..CHECKSUM + 4].fill(0);
    let mut blocks = [0; 4];
    blocks.copy_from_slice(&block[BLOCKS..BLOCKS + 4]);
    (uuid, u32::from_le_bytes(blocks))
}
