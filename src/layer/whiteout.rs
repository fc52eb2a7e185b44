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

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

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

    /// Whether a name is one of aufs itself, which engines pass over.
    pub fn is_of_aufs(file_name: &[u8]) -> bool {
        file_name.starts_with(b".wh..wh.")
    }

    /// Whether it is a whiteout of the directory itself or of the one above, which no layer may have.
    pub fn is_of_no_file(self) -> bool {
        matches!(self, Self::Whiteout(b"" | b"." | b".."))
    }
}

/// The name of the whiteout that hides `file_name`.
pub fn name_of(file_name: &OsStr) -> OsString {
    let mut name = OsStr::from_bytes(PREFIX).to_owned();
    name.push(file_name);
    name
}
