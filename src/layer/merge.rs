//! Merges two nodes of one path: equal nodes merge silently, others are a clash.

use std::{
    collections::btree_map::Entry,
    fs::{self, File, Metadata},
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    LayerError, Result,
    node::{EntryOrigin, TreeNode, list_whole, stat},
    path_options::{Compiled, EntryAttributes},
};

/// Merges `second` into `first`, both at `place`.
pub(super) fn merge(first: &mut TreeNode, second: TreeNode, options: &[Compiled], place: &Path) -> Result<()> {
    if let TreeNode::Whole(origin) = first {
        *first = list_whole(origin)?;
    }
    let second = match second {
        TreeNode::Whole(origin) => list_whole(&origin)?,
        listed => listed,
    };
    match (first, second) {
        (TreeNode::Directory(first), TreeNode::Directory(second)) => {
            if let Some(origin) = second.origin {
                merge_origin(&mut first.origin, origin, options, place)?;
            }
            for (name, node) in second.children {
                match first.children.entry(name) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(node);
                    }
                    Entry::Occupied(mut occupied) => {
                        let place = place.join(occupied.key());
                        merge(occupied.get_mut(), node, options, &place)?;
                    }
                }
            }
            Ok(())
        }
        (TreeNode::Leaf(first), TreeNode::Leaf(second)) => same_leaf(first, &second, options, place),
        (first, second) => Err(LayerError::Clash {
            place: place.to_owned(),
            why: "one is a directory",
            first: first.origin().map_or_else(PathBuf::new, |origin| origin.path.clone()),
            second: second.origin().map_or_else(PathBuf::new, |origin| origin.path.clone()),
        }),
    }
}

pub(super) fn merge_origin(
    first: &mut Option<EntryOrigin>,
    second: EntryOrigin,
    options: &[Compiled],
    place: &Path,
) -> Result<()> {
    let Some(first) = first else {
        *first = Some(second);
        return Ok(());
    };
    same_attributes(first, &second, options, place).map(|_| ())
}

fn same_attributes(
    first: &EntryOrigin,
    second: &EntryOrigin,
    options: &[Compiled],
    place: &Path,
) -> Result<(Metadata, Metadata)> {
    let attributes = |origin: &EntryOrigin, metadata: &Metadata| {
        let mode = if metadata.is_symlink() { 0o777 } else { origin.mode(metadata) };
        let path = origin.path.as_os_str().as_bytes();
        let EntryAttributes { mode, uid, gid, uname, gname, .. } = options[origin.options].attributes(path, mode);
        (mode, uid, gid, uname.to_owned(), gname.to_owned())
    };
    let (one, two) = (stat(first.file())?, stat(second.file())?);
    if attributes(first, &one) == attributes(second, &two) {
        Ok((one, two))
    } else {
        Err(clash(place, "their modes or owners differ", first, second))
    }
}

fn same_leaf(first: &EntryOrigin, second: &EntryOrigin, options: &[Compiled], place: &Path) -> Result<()> {
    let (one, two) = same_attributes(first, second, options, place)?;
    let same = if one.is_symlink() && two.is_symlink() {
        let link = |origin: &EntryOrigin| {
            fs::read_link(origin.file()).map_err(LayerError::io("reading the link", origin.file()))
        };
        link(first)? == link(second)?
    } else if one.is_file() && two.is_file() {
        one.len() == two.len() && same_bytes(first.file(), second.file())?
    } else {
        return Err(clash(place, "one is a symlink", first, second));
    };
    if same { Ok(()) } else { Err(clash(place, "their contents differ", first, second)) }
}

fn clash(place: &Path, why: &'static str, first: &EntryOrigin, second: &EntryOrigin) -> LayerError {
    LayerError::Clash { place: place.to_owned(), why, first: first.path.clone(), second: second.path.clone() }
}

/// Compares two files of equal size.
fn same_bytes(first: &Path, second: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).map_err(LayerError::io("opening", path));
    let (mut one, mut two) = (open(first)?, open(second)?);
    let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let read = one.read(&mut left).map_err(LayerError::io("reading", first))?;
        if read == 0 {
            return Ok(true);
        }
        two.read_exact(&mut right[..read]).map_err(LayerError::io("reading", second))?;
        if left[..read] != right[..read] {
            return Ok(false);
        }
    }
}
