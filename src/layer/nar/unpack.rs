//! Converts NARs to files, and to entries of a layer.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, symlink},
    },
    path::Path,
};

use super::{NarNode, NarReader};
use crate::layer::{
    LayerError, Result,
    node::{self, NodeContent, OpenNar},
    path_options::{Compiled, EntryAttributes},
};

/// Calls `visit` with every entry of the NAR of the store path `path`, whose location does not change.
pub(in crate::layer) fn walk(
    open: &OpenNar,
    path: &Path,
    options: &Compiled,
    mtime: u64,
    visit: &mut dyn FnMut(node::TreeEntry<'_>) -> Result<()>,
) -> Result<()> {
    let fail = |source| LayerError::Nar { path: path.to_owned(), source };
    let mut nar = NarReader::new(open().map_err(fail)?);
    while let Some(node) = nar.next_node().map_err(fail)? {
        let mut full = path.to_owned();
        if !nar.path().is_empty() {
            full.push(OsStr::from_bytes(nar.path()));
        }
        // Nix gives all files in a store these modes.
        let (mode, content) = match node {
            NarNode::Directory => (0o555, NodeContent::Directory),
            NarNode::Symlink(target) => (0o777, NodeContent::Symlink(target)),
            NarNode::File { executable, size } => {
                (if executable { 0o555 } else { 0o444 }, NodeContent::Data(&mut nar, size))
            }
        };
        let name = full.as_os_str().as_bytes();
        let attributes: EntryAttributes<'_> = options.attributes(name, mode);
        visit(node::TreeEntry { name, source: &full, attributes, mtime, content })?;
    }
    Ok(())
}

/// Unpacks a NAR to `target`, which must not exist yet. Directories stay writable, so that they can be removed.
///
/// # Errors
///
/// If the NAR is malformed, or a file cannot be written.
pub fn unpack(nar: impl Read, target: &Path) -> io::Result<()> {
    let mut nar = NarReader::new(nar);
    // Names have no slashes, and each parent directory was made here, so no entry leads outside.
    while let Some(node) = nar.next_node()? {
        let place = match nar.path() {
            b"" => target.to_owned(),
            path => target.join(OsStr::from_bytes(path)),
        };
        match node {
            NarNode::Directory => fs::create_dir(&place)?,
            NarNode::Symlink(to) => symlink(OsStr::from_bytes(&to), &place)?,
            NarNode::File { executable, .. } => {
                let mode = if executable { 0o555 } else { 0o444 };
                let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&place)?;
                io::copy(&mut nar, &mut file)?;
            }
        }
    }
    Ok(())
}
