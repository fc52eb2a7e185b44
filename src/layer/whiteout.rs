//! [Whiteouts](https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts): entries of a layer that
//! hide files of lower layers.
//!
//! ```text
//! a/.wh.b           hides a/b and everything below it
//! a/.wh..wh..opq    hides everything below a
//! a                 unless it is a directory, hides a and everything below it
//! ```
//!
//! Nothing hides what its own layer has, in any order of the entries.

use std::{collections::BTreeMap, ops::Bound};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What the last part of an entry's name marks; an ordinary name marks nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker<'a> {
    /// The file of this name in the same directory is hidden.
    Whiteout(&'a [u8]),
    /// Everything in the same directory is hidden.
    Opaque,
}

impl<'a> Marker<'a> {
    /// Parses the last part of a name.
    pub fn parse(file_name: &'a [u8]) -> Option<Self> {
        if file_name == OPAQUE {
            return Some(Self::Opaque);
        }
        file_name.strip_prefix(PREFIX).map(Self::Whiteout)
    }
}

/// The path of an entry relative to the root, without `.`, `..` and empty parts, as Go's `filepath.Clean` gives it to
/// docker; empty for the root itself.
pub fn clean(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// Some files of a stack of layers, by path: those that the caller puts in and no later layer hides.
#[derive(Clone, Debug)]
pub struct Overlay<T> {
    lower: BTreeMap<Vec<u8>, T>,
    own: BTreeMap<Vec<u8>, T>,
}

impl<T> Default for Overlay<T> {
    fn default() -> Self {
        Self { lower: BTreeMap::new(), own: BTreeMap::new() }
    }
}

impl<T> Overlay<T> {
    /// Applies an entry of the current layer to the lower ones; whether it is a whiteout, which is no file itself.
    pub fn hide(&mut self, path: &[u8], is_directory: bool) -> bool {
        let (directory, file_name) = split(path);
        match Marker::parse(file_name) {
            Some(Marker::Opaque) => self.hide_below(directory),
            // Nothing has these names; unpacking refuses them.
            Some(Marker::Whiteout(b"" | b"." | b"..")) => {}
            Some(Marker::Whiteout(gone)) => {
                let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
                self.hide_path(&[directory, separator, gone].concat());
            }
            None if is_directory => return false,
            None => {
                self.hide_path(path);
                return false;
            }
        }
        true
    }

    fn hide_path(&mut self, path: &[u8]) {
        self.lower.remove(path);
        self.hide_below(path);
    }

    fn hide_below(&mut self, directory: &[u8]) {
        if directory.is_empty() {
            self.lower.clear();
            return;
        }
        // The byte after a slash is 0.
        let [first, end] = [b'/', b'0'].map(|last| [directory, &[last]].concat());
        let range = (Bound::Included(first), Bound::Excluded(end));
        while let Some((path, _)) = self.lower.range(range.clone()).next() {
            let path = path.clone();
            self.lower.remove(&path);
        }
    }

    /// Puts a file of the current layer in.
    pub fn insert(&mut self, path: Vec<u8>, value: T) {
        self.own.insert(path, value);
    }

    /// The file at this path, unless it is hidden.
    pub fn get(&self, path: &[u8]) -> Option<&T> {
        self.own.get(path).or_else(|| self.lower.get(path))
    }

    /// Ends the current layer: later entries can hide its files.
    pub fn end_layer(&mut self) {
        self.lower.append(&mut self.own);
    }

    /// The files of all layers that ended, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.lower.iter().map(|(path, value)| (path.as_slice(), value))
    }
}

/// The directory of a path, empty for the root, and its last part.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_as_docker_cleans_them() {
        for (name, cleaned) in [
            ("a/b", "a/b"),
            ("./a/b/", "a/b"),
            ("/a//b", "a/b"),
            ("a/x/../b", "a/b"),
            ("../../a", "a"),
            ("a/./b/.", "a/b"),
            ("", ""),
            ("/", ""),
            ("./", ""),
        ] {
            assert_eq!(clean(name.as_bytes()), cleaned.as_bytes(), "{name}");
        }
    }

    /// The visible files of layers of entries; those with a slash at the end are directories.
    fn visible(layers: &[&[&str]]) -> Vec<String> {
        let mut overlay = Overlay::default();
        for layer in layers {
            for name in *layer {
                let (path, is_directory) = (clean(name.as_bytes()), name.ends_with('/'));
                if !overlay.hide(&path, is_directory) && !is_directory {
                    overlay.insert(path, ());
                }
            }
            overlay.end_layer();
        }
        overlay.iter().map(|(path, ())| String::from_utf8_lossy(path).into_owned()).collect()
    }

    #[test]
    fn whiteouts_hide_files_of_lower_layers_only() {
        let lower: &[&str] = &["a/b", "a/b.c", "a/bc", "a/d/e", "f"];
        for (upper, expected) in [
            (&["a/.wh.b"] as &[&str], &["a/b.c", "a/bc", "a/d/e", "f"] as &[&str]),
            (&["a/.wh.d"], &["a/b", "a/b.c", "a/bc", "f"]),
            (&[".wh.a"], &["f"]),
            (&["./a/../.wh.a"], &["f"]),
            (&["a/.wh..wh..opq"], &["f"]),
            (&[".wh..wh..opq"], &[]),
            (&["a/"], &["a/b", "a/b.c", "a/bc", "a/d/e", "f"]),
            (&["a"], &["a", "f"]),
            (&["a/d"], &["a/b", "a/b.c", "a/bc", "a/d", "f"]),
            (&["a/b", "a/.wh..wh..opq"], &["a/b", "f"]),
            (&["a/.wh..wh..opq", "a/b"], &["a/b", "f"]),
            (&["a/b", "a/.wh.b"], &["a/b", "a/b.c", "a/bc", "a/d/e", "f"]),
            (&["a/b", ".wh.a"], &["a/b", "f"]),
            (&[".wh.", ".wh..", ".wh...", "a/.wh."], &["a/b", "a/b.c", "a/bc", "a/d/e", "f"]),
        ] {
            assert_eq!(visible(&[lower, upper]), expected, "{upper:?}");
        }
        assert_eq!(visible(&[lower, &[".wh.a"], &["a/x"]]), ["a/x", "f"]);
    }
}
