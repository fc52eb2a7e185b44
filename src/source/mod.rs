//! Images written by others, read: archives and directories, told apart by content.
//!
//! ```text
//! docker-archive, OCI archive (plain, gzip, zstd, xz) ──▶ archive ─┐
//!                                                                  ├─▶ Contents ──▶ images ──▶ ImageBlobs
//! OCI layout, skopeo's dir: (directories) ───────────────▶ layout ─┘
//! image.json ────────────────────────────────────────────▶ Image ────────────────────────────▶ ImageBlobs
//! docker:// (feature `net`) ─────────────────────────────▶ Remote ───────────────────────────▶ ImageBlobs
//! ```
//!
//! Everything here is hostile until its digest was checked: names are compared,
//! never joined to a path, and every document is bounded.

mod archive;
mod contents;
mod images;
mod layout;
mod location;
mod path;
mod recipe;
#[cfg(feature = "net")]
mod remote;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use crate::layer::Packing;
pub use archive::Archive;
pub use contents::{Blob, Contents};
pub use images::{Choice, Listed};
pub use location::{Access, Location, SCHEMES, Scheme, Source, syntaxes};
#[cfg(feature = "net")]
pub use remote::Remote;

use crate::{
    blobs::ImageBlobs,
    content::Content,
    image::{Image, ImageError},
    oci::Platform,
};

/// An image of any kind, opened.
#[derive(Debug)]
pub enum Opened {
    /// An image.json.
    Recipe(Box<Image>),
    /// An archive or a directory, and which of its images is meant.
    Contents(Arc<Contents>, Choice),
    /// What a reference of a registry leads to.
    #[cfg(feature = "net")]
    Remote(Box<Remote>),
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
        "{} is neither an image.json, an OCI layout, an OCI archive, a docker archive nor a dir: of skopeo's",
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
    /// There is not exactly one image that is meant.
    #[error("{why}; there are {all}")]
    Choice {
        /// What is wrong.
        why: &'static str,
        /// Every image's name and platform.
        all: String,
    },
    /// It is no path here, but looks like a registry's reference.
    #[error("for an image of a registry, write docker://{text}")]
    NoTransport {
        /// What was given.
        text: String,
        /// Why it is no path.
        source: Box<SourceError>,
    },
    /// The registry did not give it.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Registry(Box<crate::registry::RegistryError>),
    /// It is an image.json that cannot be used.
    #[error(transparent)]
    Recipe(#[from] ImageError),
}

/// Opens an image of any kind. With `hash`, blobs of archives and directories are hashed.
///
/// # Errors
///
/// [`SourceError`], which names the file, and the part of it.
pub fn open(path: &Path, hash: bool) -> Result<Opened, SourceError> {
    let fail = |source| SourceError::Io { act: "opening".to_owned(), path: path.to_owned(), source };
    let contents = |contents| Opened::Contents(Arc::new(contents), Choice::default());
    if fs::metadata(path).map_err(fail)?.is_dir() {
        return if path.join("oci-layout").exists() {
            layout::scan(path, hash).map(contents)
        } else if path.join("manifest.json").exists() {
            layout::scan_dir(path, hash).map(contents)
        } else if path.join("image.json").exists() {
            Ok(Opened::Recipe(Box::new(Image::open(path.join("image.json"))?)))
        } else {
            Err(SourceError::Unknown(path.to_owned()))
        };
    }
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(512).read_to_end(&mut start)).map_err(fail)?;
    let is_tar = start.get(257..262) == Some(b"ustar");
    if start.trim_ascii_start().starts_with(b"{") {
        Ok(Opened::Recipe(Box::new(Image::open(path)?)))
    } else if is_tar || Packing::of(&start) != Packing::Plain {
        archive::scan(path, hash).map(contents)
    } else {
        Err(SourceError::Unknown(path.to_owned()))
    }
}

impl Opened {
    /// The registry (host and port) that it is in, where it is in one.
    pub fn registry(&self) -> Option<&str> {
        match self {
            #[cfg(feature = "net")]
            Self::Remote(remote) => Some(remote.host()),
            _ => None,
        }
    }

    /// The one image that is meant: of `platform`, or where nothing is said and there are several, of this machine's.
    ///
    /// # Errors
    ///
    /// [`SourceError::Choice`], and those of reading its documents.
    pub fn image(&self, platform: Option<&Platform>) -> Result<ImageBlobs, SourceError> {
        let platform = Some(platform.cloned().unwrap_or_else(Platform::here));
        match self {
            Self::Recipe(image) => Ok(ImageBlobs::of(image)),
            Self::Contents(contents, choice) => {
                contents.blobs_of(&contents.choose(&Choice { platform, ..choice.clone() })?)
            }
            #[cfg(feature = "net")]
            Self::Remote(remote) => remote.blobs(&Choice { platform, ..Choice::default() }),
        }
    }

    /// Everything there: an image, or the index with all it lists.
    ///
    /// # Errors
    ///
    /// Those of reading its documents.
    pub fn content(&self) -> Result<Content, SourceError> {
        match self {
            #[cfg(feature = "net")]
            Self::Remote(remote) => remote.content(),
            _ => Ok(Content::of_images(self.images()?)),
        }
    }

    /// Every image there.
    ///
    /// # Errors
    ///
    /// Those of reading its documents.
    pub fn images(&self) -> Result<Vec<ImageBlobs>, SourceError> {
        match self {
            Self::Recipe(image) => Ok(vec![ImageBlobs::of(image)]),
            Self::Contents(contents, _) => contents.images()?.iter().map(|image| contents.blobs_of(image)).collect(),
            #[cfg(feature = "net")]
            Self::Remote(remote) => remote.all_blobs(),
        }
    }
}
