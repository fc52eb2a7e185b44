//! Why an image could not be read.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use crate::{budget::ExceededError, image::ImageError, oci::Platform};

/// Why an image could not be read.
///
/// [Example](crate#image).
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
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
    /// It is something else than an image.
    #[error("{}: {why}", path.display())]
    NotImage {
        /// The file or directory.
        path: PathBuf,
        /// What it is, and what to do instead.
        why: String,
    },
    /// A document of it is missing or malformed.
    #[error("{document}: {why}")]
    Document {
        /// Its name inside the image.
        document: String,
        /// What is wrong.
        why: String,
    },
    /// With a document of it, the image exceeds a limit.
    #[error("{document}: {exceeded}")]
    Limit {
        /// The document's name inside the image.
        document: String,
        /// The limit.
        exceeded: ExceededError,
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
    /// One image of several cannot be read.
    #[error("the image {name}, one of several there, cannot be read; name another by its tag ({others})")]
    Incomplete {
        /// Its name, or its digest.
        name: String,
        /// The names of the others.
        others: String,
        /// What is wrong with it.
        source: Box<OpenError>,
    },
    /// It is for another platform than what is built on it.
    #[error("it is for {found}, but the image that is built on it is for {wanted}")]
    Platform {
        /// The platform of its config.
        found: Box<Platform>,
        /// The platform of the image on it.
        wanted: Box<Platform>,
    },
    /// It is no path here, but looks like a registry's reference.
    #[error("for an image of a registry, write docker://{text}")]
    NoTransport {
        /// What was given.
        text: String,
        /// Why it is no path.
        source: Box<OpenError>,
    },
    /// It is no path here, but something that is written in another way.
    #[error("{hint}")]
    Hint {
        /// What to write.
        hint: String,
        /// Why it is no path.
        source: Box<OpenError>,
    },
    /// No image has this name.
    #[error("no image is named {name}; found {all}")]
    NoSuchName {
        /// The name that was asked for.
        name: String,
        /// Every image's name.
        all: String,
    },
    /// The registry has no such image.
    #[error("{reference}: the registry has no {version}; check the name, and that you are logged in")]
    NoSuchVersion {
        /// The image.
        reference: String,
        /// Its tag or digest.
        version: String,
    },
    /// The path ends at its first colon.
    #[error("after a transport, a path ends at its first colon; write the path alone: {path}")]
    Colon {
        /// The path.
        path: String,
        /// Why the part before the colon is no image.
        source: Box<OpenError>,
    },
    /// The registry or the engine failed.
    #[error(transparent)]
    Transport(Box<dyn Error + Send + Sync>),
    /// It is an image.json that cannot be used.
    #[error(transparent)]
    Recipe(#[from] ImageError),
}

impl OpenError {
    /// The error of an act on a path, such as "reading".
    pub(crate) fn io(act: &str, path: &Path) -> impl Fn(io::Error) -> Self {
        let (act, path) = (act.to_owned(), path.to_owned());
        move |source| Self::Io { act: act.clone(), path: path.clone(), source }
    }

    /// Whether a document is missing or malformed, so that reading it again gives the same.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self, Self::Document { .. })
    }

    /// Whether there is no such image.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::NoSuchName { .. } | Self::NoSuchVersion { .. })
    }

    /// The error of a registry or an engine.
    #[cfg(feature = "net")]
    pub(crate) fn transport(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transport(error.into())
    }
}
