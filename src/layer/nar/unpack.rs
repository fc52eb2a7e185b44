//! NARs as files, and as entries of a layer.

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

use super::{NarReader, Node};
use crate::layer::{
    LayerError, Result,
    node::{self, Content, OpenNar},
    path_options::{Attributes, Compiled},
};

/// Calls `visit` with every entry of the NAR of the store path `path`, which keeps its place.
pub(in crate::layer) fn walk(
    open: &OpenNar,
    path: &Path,
    options: &Compiled,
    mtime: u64,
    visit: &mut dyn FnMut(node::Entry<'_>) -> Result<()>,
) -> Result<()> {
    let fail = |source| LayerError::Nar { path: path.to_owned(), source };
    let mut nar = NarReader::new(open().map_err(fail)?);
    while let Some(node) = nar.next_node().map_err(fail)? {
        let mut full = path.to_owned();
        if !nar.path().is_empty() {
            full.push(OsStr::from_bytes(nar.path()));
        }
        // The modes that Nix gives everything in a store.
        let (mode, content) = match node {
            Node::Directory => (0o555, Content::Directory),
            Node::Symlink(target) => (0o777, Content::Symlink(target)),
            Node::File { executable, size } => (if executable { 0o555 } else { 0o444 }, Content::Data(&mut nar, size)),
        };
        let name = full.as_os_str().as_bytes();
        let attributes: Attributes<'_> = options.attributes(name, mode);
        visit(node::Entry { name, source: &full, attributes, mtime, content })?;
    }
    Ok(())
}

/// Unpacks a NAR to `target`, which must not exist yet. Directories stay writable, so that they can be removed.
///
/// # Errors
///
/// When it is no NAR, or a file cannot be written.
pub fn unpack(nar: impl Read, target: &Path) -> io::Result<()> {
    let mut nar = NarReader::new(nar);
    // Names are plain, and what lies above one was made here, as a directory: no entry leads elsewhere.
    while let Some(node) = nar.next_node()? {
        let place = match nar.path() {
            b"" => target.to_owned(),
            path => target.join(OsStr::from_bytes(path)),
        };
        match node {
            Node::Directory => fs::create_dir(&place)?,
            Node::Symlink(to) => symlink(OsStr::from_bytes(&to), &place)?,
            Node::File { executable, .. } => {
                let mode = if executable { 0o555 } else { 0o444 };
                let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&place)?;
                io::copy(&mut nar, &mut file)?;
            }
        }
    }
    Ok(())
}
