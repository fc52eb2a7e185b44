//! Images written by others, read: archives and directories, told apart by content.
//!
//! ```text
//! docker://, oci:, OCI archives, dir: ──▶ Store ─┐
//! docker archives ──▶ manifests made ────▶ Store ─┴─▶ Found ──▶ Node ──▶ ImageBlobs, Content
//! image.json ───────────────────────────────────────▶ Image ──────────▶ ImageBlobs
//! docker-daemon:, containerd:, containers-storage: ──▶ archives that the engines write
//! ```
//!
//! A [`Store`] opens blobs by digest, a [`Node`] is a descriptor that is walked there, and [`Found`] is what a name
//! leads to. Everything here is hostile until its digest was checked: names are compared, never joined to a path, and
//! every document is bounded.

mod archive;
mod contents;
mod docker;
#[cfg(feature = "net")]
mod engine;
mod found;
mod graph;
mod layout;
mod location;
mod lock;
mod path;
mod recipe;
#[cfg(feature = "net")]
pub mod remote;
mod scan;
mod scheme;
mod store;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

pub use crate::layer::Packing;
pub use found::{Choice, Found, Wanted};
pub use graph::Node;
pub use location::{Location, SCHEMES, syntaxes};
pub use lock::{Lock, LockedImage};
pub use scheme::{Access, Scheme, Source};
pub use store::Store;

use crate::{
    blobs::ImageBlobs,
    content::Content,
    files,
    image::{Image, ImageError},
    oci::Platform,
};

/// An image of any kind, opened.
#[derive(Debug)]
pub enum Opened {
    /// An image.json.
    Recipe(Box<Image>),
    /// What an archive, a directory or a registry holds under the name that was given.
    Found(Found),
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
    /// It is not of a kind that strata reads.
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
    /// A blob or document of it could not be read.
    #[error("reading {name}")]
    Blob {
        /// Its name.
        name: String,
        /// What the medium answered.
        source: io::Error,
    },
    /// Not exactly one image matches.
    #[error("{why}; found {all}")]
    Choice {
        /// What is wrong.
        why: String,
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
    /// The docker daemon did not give it.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Daemon(#[from] crate::daemon::DaemonError),
    /// Another engine did not give it.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    /// It is an image.json that cannot be used.
    #[error(transparent)]
    Recipe(#[from] ImageError),
}

/// Opens an image of any kind.
///
/// # Errors
///
/// [`SourceError`], which names the file, and the part of it.
pub fn open(path: &Path) -> Result<Opened, SourceError> {
    let fail = |source| SourceError::Io { act: "opening".to_owned(), path: path.to_owned(), source };
    if fs::metadata(path).map_err(fail)?.is_dir() {
        return if path.join("oci-layout").exists() {
            layout::open(path).map(Opened::Found)
        } else if path.join("manifest.json").exists() {
            layout::open_dir(path).map(Opened::Found)
        } else if path.join("image.json").exists() {
            Ok(Opened::Recipe(Box::new(Image::open(path.join("image.json"))?)))
        } else {
            Err(SourceError::Unknown(path.to_owned()))
        };
    }
    let mut file = File::open(path).map_err(fail)?;
    let mut start = Vec::new();
    (&mut file).take(512).read_to_end(&mut start).map_err(fail)?;
    let is_tar = start.get(257..262) == Some(b"ustar");
    let is_recipe = start.trim_ascii_start().starts_with(b"{");
    if !is_recipe && !is_tar && Packing::of(&start) == Packing::Plain {
        return Err(SourceError::Unknown(path.to_owned()));
    }
    // A pipe is read once.
    if files::is_stream(path) {
        let all = start.chain(file);
        return match is_recipe {
            true => Ok(Opened::Recipe(Box::new(Image::read(all, path)?))),
            false => scan::open_stream(all, path).map(Opened::Found),
        };
    }
    match is_recipe {
        true => Ok(Opened::Recipe(Box::new(Image::open(path)?))),
        false => scan::open(path).map(Opened::Found),
    }
}

impl Opened {
    /// The registry (host and port) that it is in, where it is in one.
    pub fn registry(&self) -> Option<&str> {
        match self {
            Self::Recipe(_) => None,
            Self::Found(found) => found.store().origin().map(|(host, _)| host),
        }
    }

    /// The one image that matches `platform`; without it, the image for this machine if there are several.
    ///
    /// # Errors
    ///
    /// [`SourceError::Choice`], and those of reading its documents.
    pub fn image(&self, platform: Option<&Platform>) -> Result<ImageBlobs, SourceError> {
        let wanted = match platform {
            Some(platform) => Wanted::Only(platform.clone()),
            None => Wanted::Prefer(Platform::here()),
        };
        match self {
            Self::Recipe(image) => match platform.filter(|platform| !platform.is_met_by(&image.platform())) {
                None => Ok(ImageBlobs::of(image)),
                Some(platform) => Err(SourceError::Choice {
                    why: format!("no image matches {platform}"),
                    all: image.platform().to_string(),
                }),
            },
            Self::Found(found) => found.image(&wanted),
        }
    }

    /// Everything of the name that was given: an image, or the index with all it lists.
    ///
    /// # Errors
    ///
    /// [`SourceError::Choice`] when no name was given and there are several, and those of reading the documents.
    pub fn content(&self) -> Result<Content, SourceError> {
        match self {
            Self::Recipe(image) => Ok(ImageBlobs::of(image).into()),
            Self::Found(found) => found.content(),
        }
    }

    /// What refers to something in `content`, which was read from here: signatures, bills of materials, attestations.
    ///
    /// # Errors
    ///
    /// Those of reading the documents.
    pub fn referrers(&self, content: &Content) -> Result<Vec<Content>, SourceError> {
        match self {
            Self::Recipe(_) => Ok(Vec::new()),
            Self::Found(found) => found.referrers(content),
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
            Self::Found(found) => found.images(),
        }
    }
}
