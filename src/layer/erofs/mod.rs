//! A layer as an uncompressed [EROFS](https://erofs.docs.kernel.org/en/latest/design.html) image, which Linux mounts without
//! unpacking it.
//!
//! ```text
//! block 0        1024 zero bytes, the superblock
//! blocks 1…      contents of regular files in the order of the layer, each from the start of a block
//! metadata       inodes in the order of their paths: 64 bytes, extended attributes, link target or last part of a directory
//! directories    the parts of directories that fill a block
//! ```
//!
//! Blocks have 4096 bytes; numbers are little-endian. Contents come first, so that an image is written in one pass over a tar,
//! or over the store paths that it would be made from. A file of the store starts at a block, so that file systems such as
//! btrfs and xfs can share its blocks with the image.
//!
//! A layer is converted for overlayfs, as engines unpack it
//! ([containerd](https://github.com/containerd/containerd/blob/main/pkg/archive/tar_opts_linux.go)):
//!
//! ```text
//! a/.wh.b          a/b: a character device 0:0
//! a/.wh..wh..opq   a: trusted.overlay.opaque = "y"
//! .wh.a and a/     a: trusted.overlay.opaque = "y"
//! ```
//!
//! Directories without an entry have mode 0755, owner 0:0 and time 0. Times have whole seconds; times before 1970
//! become 0. Extended attributes outside of `user.`, `trusted.`, `security.` and the two POSIX ACLs are omitted,
//! because no file system of an engine keeps them. Attributes that overlayfs interprets (`trusted.overlay.…`) are omitted too.
//!
//! The bytes depend on the entries of the layer alone. The UUID of the image is the start of the SHA-256 of its other bytes
//! and of the layer's diff_id, so that [`is_intact`] recognises a complete image without the layer.

mod area;
mod build;
mod check;
mod directory;
mod disk;
mod erofs_file;
mod inode;
mod layout;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use self::{area::Area, build::InodeBuilder};
use super::{
    LayerError, Result, TarWriter, Tree,
    chunks::Overlapped,
    node::{NodeContent, TreeEntry},
    untar::{TarEntry, TarReader},
};
use crate::oci::{Digest, Sha256Writer};

pub use check::is_intact;
pub use erofs_file::ErofsFile;

/// The size of a block in bytes. A machine can mount an image if its pages have at least this size.
const BLOCK: u64 = 4096;

/// Writes the image of the layer whose uncompressed tar is `tar` to the empty file `out`.
///
/// # Errors
///
/// If the tar is malformed, has an entry that engines refuse or that EROFS cannot hold, or a file cannot be written.
pub fn write_tar(tar: &mut dyn Read, diff_id: &Digest, out: &ErofsFile<'_>) -> io::Result<()> {
    let mut builder = InodeBuilder::new(Area::new(out)?);
    let mut entries = TarReader::new(tar);
    while let Some(entry) = entries.next_entry()? {
        let mut add = |builder: &mut InodeBuilder<'_>| match builder.begin(&entry)? {
            false => Ok(()),
            true => builder.area.append_entry(&entry, &mut entries),
        };
        add(&mut builder).map_err(|error| named(&entry.name, error))?;
    }
    layout::write(builder, diff_id)
}

/// Writes the image of the layer that `tree` describes to the empty file `out`, and returns the digest of its tar. `diff_id` is
/// the expected digest. The image is valid only if the returned digest is equal.
///
/// # Errors
///
/// [`LayerError`] as for the tar of the layer, and as [`write_tar`].
pub fn write_tree(tree: &Tree, diff_id: &Digest, out: &ErofsFile<'_>) -> Result<Digest> {
    let mut builder = InodeBuilder::new(Area::new(out).map_err(LayerError::Write)?);
    let mut tar = TarWriter::with_chunks(Overlapped::new(Sha256Writer::new(io::sink())));
    tree.walk(&mut |entry| add_entry(&mut builder, &mut tar, entry))?;
    let hashed = tar.end_with(Overlapped::finish)?;
    layout::write(builder, diff_id).map_err(LayerError::Write)?;
    Ok(hashed.finish().1)
}

/// Adds one entry of a tree to the image, and to the tar, which is only hashed.
fn add_entry(
    builder: &mut InodeBuilder<'_>,
    tar: &mut TarWriter<Overlapped<Sha256Writer<io::Sink>>>,
    mut entry: TreeEntry<'_>,
) -> Result<()> {
    let described = describe(&mut entry);
    let fail = |error| LayerError::Write(named(&described.name, error));
    if !builder.begin(&described).map_err(fail)? {
        return tar.append(entry);
    }
    let TreeEntry { name, source, attributes, mtime, content } = entry;
    let append = |tar: &mut TarWriter<_>, data: &mut dyn Read| {
        tar.append(TreeEntry { name, source, attributes, mtime, content: NodeContent::Data(data, described.size) })
    };
    match content {
        NodeContent::File(mut file, size) => {
            let is_copied = area::is_copied(size);
            append(tar, &mut builder.area.reading(&mut file, is_copied))?;
            if is_copied {
                builder.area.copy_file(&file, size).map_err(fail)?;
            }
        }
        NodeContent::Data(data, _) => append(tar, &mut builder.area.reading(data, false))?,
        NodeContent::Directory | NodeContent::Symlink(_) | NodeContent::Special(..) => {}
    }
    builder.area.end_file().map_err(fail)
}

/// Returns the entry with the form that the tar of the layer has.
fn describe(entry: &mut TreeEntry<'_>) -> TarEntry {
    let (kind, size, link, device) = match &entry.content {
        NodeContent::Directory => (tar::EntryType::Directory, 0, Vec::new(), (0, 0)),
        NodeContent::File(_, size) | NodeContent::Data(_, size) => (tar::EntryType::Regular, *size, Vec::new(), (0, 0)),
        NodeContent::Symlink(target) => (tar::EntryType::Symlink, 0, target.clone(), (0, 0)),
        NodeContent::Special(kind, device) => (*kind, 0, Vec::new(), *device),
    };
    TarEntry {
        name: entry.name.to_vec(),
        kind,
        mode: entry.attributes.mode,
        uid: entry.attributes.uid,
        gid: entry.attributes.gid,
        size,
        link,
        device,
        xattrs: entry.attributes.xattrs.cloned().unwrap_or_default(),
        mtime: Some(entry.mtime),
        position: 0,
        holes: None,
    }
}

/// Returns the error with the name of the entry.
fn named(name: &[u8], error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", name.escape_ascii()))
}
