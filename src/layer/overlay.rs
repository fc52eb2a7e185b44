//! Merges a stack of layers into one tree, with the semantics of engines.
//!
//! Each layer is first a separate tree, and then covers the tree of the layers below it ([image-spec,
//! layer.md](https://github.com/opencontainers/image-spec/blob/main/layer.md)):
//!
//! ```text
//! layers below       the layer           together
//! bin -> usr/bin     bin/tool            bin/tool: bin is a directory, usr/bin stays
//! bin -> usr/bin     bin/.wh.sh          bin: an empty directory; usr/bin/sh stays
//!                    bin -> usr/bin      bin -> usr/bin, usr/bin/tool
//!                    bin/tool
//! a                  a/b                 a/b: a is a directory
//! a/b                a                   a: a file
//! a/b                a/.wh..wh..opq      a: an empty directory
//! ```
//!
//! A link of the layer itself is followed. A link of a lower layer is replaced by the directory that the entry's name
//! needs: moby (`pkg/archive/archive.go`, in the root of the layer's own directory), containers/storage (the same) and
//! containerd (`pkg/archive/tar.go`, `fs.RootPath` of the layer's own directory). rules_oci#857, stereoscope#694 and
//! umoci#546 are reports of tools that follow links of lower layers, or fail. Whiteouts do not hide files of their own
//! layer, in any order of the entries.
//!
//! Where engines differ, this follows the specification, or the engine that keeps most files:
//!
//! - `.wh.a` and `a/` in one layer: the files of lower layers below `a` are gone. With overlay file systems (docker 20.10 and
//!   29, podman 4.3, containerd 2.2) they come back, as the directory takes the place of the whiteout.
//! - `link/x` where the link's target is in no entry of the layer: containerd makes it, docker 20.10 and podman refuse.
//! - `a/b/c` over a file `a`: docker 20.10 and podman make both directories, containerd refuses.
//! - Directories that no entry of the layer describes keep the owner and the mode that a lower layer gave them, as with
//!   containerd; docker and podman set 0755 or 0777.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::OsStr,
    io,
    ops::{Bound, RangeBounds},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use tar::EntryType;

use super::{links, untar::TarEntry, whiteout::Marker};
use crate::budget::{self, Budget};

/// The effect of an entry of a layer on the tree. Paths are relative to the root and contain no links of the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerEffect {
    /// The entry is at this path, and all parents of this path are directories.
    At(Vec<u8>),
    /// The entry hides this path of lower layers, and everything below it.
    Whiteout(Vec<u8>),
    /// The entry hides everything below this directory in lower layers.
    Opaque(Vec<u8>),
}

impl LayerEffect {
    /// Returns the directory that contains the entry, which is empty for the root.
    pub fn directory(&self) -> &[u8] {
        match self {
            Self::At(path) | Self::Whiteout(path) => split(path).0,
            Self::Opaque(directory) => directory,
        }
    }
}

/// The links of one layer that names of later entries may contain.
#[derive(Debug)]
pub struct LayerLinks {
    targets: BTreeMap<Vec<u8>, Vec<u8>>,
    budget: Budget,
}

impl Default for LayerLinks {
    fn default() -> Self {
        Self { targets: BTreeMap::new(), budget: Budget::new(&budget::LINKS) }
    }
}

impl LayerLinks {
    /// Returns the place of the next entry, or `None` for the root itself.
    ///
    /// # Errors
    ///
    /// If its name leads out of the root, through too many links, or marks no file. Engines refuse such layers.
    pub fn place(&mut self, entry: &TarEntry) -> io::Result<Option<LayerEffect>> {
        let name = clean(&entry.name)?;
        if name.is_empty() {
            return Ok(None);
        }
        let (directory, file_name) = split(&name);
        let directory = self.resolve(directory)?;
        let path = join(&directory, file_name);
        Ok(Some(match Marker::parse(file_name) {
            Some(Marker::Opaque) => LayerEffect::Opaque(directory),
            Some(marker) if marker.is_of_no_file() => return Err(invalid("a whiteout of no file")),
            Some(Marker::Whiteout(gone)) => LayerEffect::Whiteout(join(&directory, gone)),
            None => {
                self.replace(&path, entry)?;
                LayerEffect::At(path)
            }
        }))
    }

    /// Returns the path of the target of a hard link.
    ///
    /// # Errors
    ///
    /// If the name leads out of the root, or through too many links.
    pub fn hard_link_target(&self, entry: &TarEntry) -> io::Result<Vec<u8>> {
        let target = clean(&entry.link)?;
        let (directory, file_name) = split(&target);
        Ok(join(&self.resolve(directory)?, file_name))
    }

    /// Records the entry that is now at `path`.
    fn replace(&mut self, path: &[u8], entry: &TarEntry) -> io::Result<()> {
        self.targets.remove(path);
        if entry.kind != EntryType::Directory {
            remove_below(&mut self.targets, path);
        }
        if entry.kind == EntryType::Symlink {
            self.budget.take(path.len() + entry.link.len())?;
            self.targets.insert(path.to_owned(), entry.link.clone());
        }
        Ok(())
    }

    /// Returns the path of a directory after following the layer's links below its root.
    fn resolve(&self, directory: &[u8]) -> io::Result<Vec<u8>> {
        if self.targets.is_empty() {
            return Ok(directory.to_owned());
        }
        let target = |here: &Path| {
            let target = self.targets.get(here.as_os_str().as_bytes())?;
            Some(Cow::Borrowed(Path::new(OsStr::from_bytes(target))))
        };
        let directory = links::follow(Path::new(OsStr::from_bytes(directory)), target)?;
        Ok(directory.into_os_string().into_vec())
    }
}

/// A map of files in a stack of layers, by path. It contains the inserted files that no later layer hides. A path that
/// ends in a slash stands for a directory with everything below it.
#[derive(Clone, Debug)]
pub struct Overlay<T> {
    lower: BTreeMap<Vec<u8>, T>,
    current: BTreeMap<Vec<u8>, T>,
}

impl<T> Default for Overlay<T> {
    fn default() -> Self {
        Self { lower: BTreeMap::new(), current: BTreeMap::new() }
    }
}

impl<T> Overlay<T> {
    /// Applies an entry of the current layer to the layers below.
    pub fn apply(&mut self, place: &LayerEffect, is_directory: bool) {
        // The parents of a name are directories, which replace files of lower layers.
        for above in above(place) {
            self.lower.remove(above);
        }
        match place {
            LayerEffect::Opaque(directory) => remove_below(&mut self.lower, directory),
            LayerEffect::Whiteout(path) => {
                self.lower.remove(path);
                remove_below(&mut self.lower, path);
            }
            LayerEffect::At(path) => {
                self.lower.remove(path);
                self.current.remove(path);
                if !is_directory {
                    remove_below(&mut self.lower, path);
                    remove_below(&mut self.current, path);
                }
            }
        }
    }

    /// Inserts a file of the current layer.
    pub fn insert(&mut self, path: Vec<u8>, value: T) {
        self.current.insert(path, value);
    }

    /// Returns the file at this path, unless it is hidden.
    pub fn get(&self, path: &[u8]) -> Option<&T> {
        self.current.get(path).or_else(|| self.lower.get(path))
    }

    /// Ends the current layer, so that later entries can hide its files.
    pub fn end_layer(&mut self) {
        self.lower.append(&mut self.current);
    }

    /// Returns the files of all ended layers, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.lower.iter().map(|(path, value)| (path.as_slice(), value))
    }
}

/// Returns the parent directories of the entry's place, without the root.
pub fn above(place: &LayerEffect) -> impl Iterator<Item = &[u8]> {
    let mut next = Some(place.directory());
    std::iter::from_fn(move || {
        let directory = next.take().filter(|directory| !directory.is_empty())?;
        next = Some(split(directory).0);
        Some(directory)
    })
}

/// Removes every path below `directory`, which may be the root.
fn remove_below<T>(map: &mut BTreeMap<Vec<u8>, T>, directory: &[u8]) {
    if directory.is_empty() {
        map.clear();
        return;
    }
    let range = below(directory);
    while let Some((path, _)) = map.range::<Vec<u8>, _>(range.clone()).next() {
        let path = path.clone();
        map.remove(&path);
    }
}

/// Returns the range of paths below a directory in the order of bytes. The byte after a slash is 0.
fn below(directory: &[u8]) -> impl RangeBounds<Vec<u8>> + Clone {
    let [first, end] = [b'/', b'0'].map(|last| [directory, &[last]].concat());
    (Bound::Included(first), Bound::Excluded(end))
}

/// Returns the path of an entry relative to the root, without `.`, `..` and empty components, as returned by Go's
/// `Clean` (path/filepath/path.go) in engines. The path of the root is empty.
///
/// # Errors
///
/// If the path leads out of the root: docker and podman refuse the layer. If it is longer than a path can be in Linux.
pub fn clean(name: &[u8]) -> io::Result<Vec<u8>> {
    if name.len() > links::PATH_LIMIT {
        return Err(links::too_long());
    }
    let mut cleaned: Vec<&[u8]> = Vec::new();
    for part in components(name) {
        match part {
            b"." => {}
            b".." => drop(cleaned.pop().ok_or_else(|| invalid("its name points outside the image"))?),
            part => cleaned.push(part),
        }
    }
    Ok(cleaned.join(&b'/'))
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty())
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    [directory, separator, name].concat()
}

/// Splits a path into its directory (empty for the root) and its last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
