//! [Whiteouts](https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts): entries of a layer that
//! hide files of lower layers.
//!
//! ```text
//! a/.wh.b           hides a/b and everything below it
//! a/.wh..wh..opq    hides everything below a
//! a                 unless it is a directory, hides a and everything below it
//! ```
//!
//! Whiteouts do not hide files of their own layer, in any order of the entries.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The meaning of the last component of an entry's name. Ordinary names have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker<'a> {
    /// Hides the file of this name in the same directory.
    Whiteout(&'a [u8]),
    /// Hides everything in the same directory.
    Opaque,
}

impl<'a> Marker<'a> {
    /// Parses the last component of a name.
    pub fn parse(file_name: &'a [u8]) -> Option<Self> {
        if file_name == OPAQUE {
            return Some(Self::Opaque);
        }
        file_name.strip_prefix(PREFIX).map(Self::Whiteout)
    }

    /// Whether the name is used by aufs itself. Engines skip such names.
    pub fn is_of_aufs(file_name: &[u8]) -> bool {
        file_name.starts_with(b".wh..wh.")
    }

    /// Whether it is a whiteout of the directory itself or of its parent, which is not allowed.
    pub fn is_of_no_file(self) -> bool {
        matches!(self, Self::Whiteout(b"" | b"." | b".."))
    }
}

/// Returns the name of the whiteout that hides `file_name`.
pub fn name_of(file_name: &OsStr) -> OsString {
    let mut name = OsStr::from_bytes(PREFIX).to_owned();
    name.push(file_name);
    name
}
