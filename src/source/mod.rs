//! Images written by others, read: archives and OCI layouts, told apart by content.
//!
//! ```text
//! docker-archive, OCI archive (plain or gzip) ──▶ archive ─┐
//!                                                          ├─▶ Contents: documents and blobs ──▶ images
//! OCI layout (a directory) ──────────────────────▶ layout ─┘
//! image.json ────────────────────────────────────▶ Image
//! ```
//!
//! Everything here is hostile until its digest was checked: names are compared,
//! never joined to a path, and every document is bounded.

mod archive;
mod contents;
mod layout;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

pub use contents::{Blob, Contents, Listed};

use crate::image::{Image, ImageError};

/// An image of any kind, opened.
#[derive(Debug)]
pub enum Opened {
    /// An image.json.
    Recipe(Box<Image>),
    /// An archive or a layout.
    Contents(Contents),
}

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file system refused.
    #[error("{act} {}", path.display())]
    Io {
        /// What was tried.
        act: String,
        /// On which path.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// It is none of the kinds that strata reads.
    #[error(
        "{} is neither an image.json, an OCI layout, an OCI archive nor a docker archive",
        .0.display()
    )]
    Unknown(PathBuf),
    /// A document of it is missing or malformed.
    #[error("{document}: {why}")]
    Document {
        /// Its name inside the image.
        document: String,
        /// What is wrong.
        why: String,
    },
    /// It is an image.json that cannot be used.
    #[error(transparent)]
    Recipe(#[from] ImageError),
}

/// Opens an image of any kind. With `hash`, blobs of archives and layouts are hashed.
///
/// # Errors
///
/// [`SourceError`], which names the file, and the part of it.
pub fn open(path: &Path, hash: bool) -> Result<Opened, SourceError> {
    let fail = |source| SourceError::Io { act: "opening".to_owned(), path: path.to_owned(), source };
    if fs::metadata(path).map_err(fail)?.is_dir() {
        return if path.join("oci-layout").exists() {
            layout::scan(path, hash).map(Opened::Contents)
        } else {
            Err(SourceError::Unknown(path.to_owned()))
        };
    }
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(512).read_to_end(&mut start)).map_err(fail)?;
    let is_tar = start.get(257..262) == Some(b"ustar");
    if start.trim_ascii_start().starts_with(b"{") {
        Ok(Opened::Recipe(Box::new(Image::open(path)?)))
    } else if is_tar || start.starts_with(&contents::GZIP) {
        archive::scan(path, hash).map(Opened::Contents)
    } else {
        Err(SourceError::Unknown(path.to_owned()))
    }
}
