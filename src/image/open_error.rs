//! Errors of opening images.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use crate::{budget::ExceededError, image::ImageError, oci::Platform};

/// The error of opening an image.
///
/// [Example](crate#image).
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An input or output error.
    #[error("{act} {}", path.display())]
    Io {
        /// The operation, for example `reading`.
        act: String,
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file has an unknown format.
    #[error(
        "{} is neither an image.json, an OCI layout, an OCI archive, a docker archive nor a dir: of skopeo's",
        .0.display()
    )]
    Unknown(PathBuf),
    /// The file or directory is not an image.
    #[error("{}: {why}", path.display())]
    NotImage {
        /// The kind of the file, and a remedy.
        path: PathBuf,
        /// The kind of the file, and a remedy.
        why: String,
    },
    /// A document of the image is missing or malformed.
    #[error("{document}: {why}")]
    Document {
        /// The name of the document in the image.
        document: String,
        /// The reason.
        why: String,
    },
    /// A document of the image exceeds a limit.
    #[error("{document}: {exceeded}")]
    Limit {
        /// The name of the document in the image.
        document: String,
        /// The exceeded limit.
        exceeded: ExceededError,
    },
    /// A blob or document of the image could not be read.
    #[error("reading {name}")]
    Blob {
        /// The name of the document, blob or file.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
    /// No image or several images match.
    #[error("{why}; found {all}")]
    Choice {
        /// The problem of the choice.
        why: String,
        /// The names and platforms of all images.
        all: String,
    },
    /// One of several images cannot be read.
    #[error("the image {name}, one of several there, cannot be read; name another by its tag ({others})")]
    Incomplete {
        /// The name or digest of the image.
        name: String,
        /// The names of the other images.
        others: String,
        /// The error of the system.
        source: Box<OpenError>,
    },
    /// The image is for another platform than the image that is built on it.
    #[error("it is for {found}, but the image that is built on it is for {wanted}")]
    Platform {
        /// The platform in the config of the image.
        found: Box<Platform>,
        /// The platform of the image that is built on it.
        wanted: Box<Platform>,
    },
    /// The path does not exist, but resembles a reference of a registry.
    #[error("for an image of a registry, write docker://{text}")]
    NoTransport {
        /// The text that the user gave.
        text: String,
        /// The error of opening the path.
        source: Box<OpenError>,
    },
    /// The path does not exist, but resembles another source.
    #[error("{hint}")]
    Hint {
        /// The suggested source.
        hint: String,
        /// The error of opening the path.
        source: Box<OpenError>,
    },
    /// No image has this name.
    #[error("no image is named {name}; found {all}")]
    NoSuchName {
        /// The name of the document, blob or file.
        name: String,
        /// The names of all images.
        all: String,
    },
    /// The registry has no such image.
    #[error("{reference}: the registry has no {version}{detail}; check the name, and that you are logged in")]
    NoSuchVersion {
        /// The reference of the image.
        reference: String,
        /// The tag or digest.
        version: String,
        /// The message of the registry after a colon, or nothing.
        detail: String,
    },
    /// The text was split at its first colon.
    #[error("after a transport, a path ends at its first colon; write the path alone: {path}")]
    Colon {
        /// The path that contains the colon.
        path: String,
        /// The error of opening the part before the colon.
        source: Box<OpenError>,
    },
    /// The registry or the engine reported an error.
    #[error(transparent)]
    Transport(Box<dyn Error + Send + Sync>),
    /// An image.json that cannot be used.
    #[error(transparent)]
    Recipe(#[from] ImageError),
}

impl OpenError {
    /// Returns a function that adds an operation such as "reading", and the path.
    pub(crate) fn io(act: &str, path: &Path) -> impl Fn(io::Error) -> Self {
        let (act, path) = (act.to_owned(), path.to_owned());
        move |source| Self::Io { act: act.clone(), path: path.clone(), source }
    }

    /// Whether a document is missing or malformed, so that reading it again has the same result.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self, Self::Document { .. })
    }

    /// Whether the image does not exist.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::NoSuchName { .. } | Self::NoSuchVersion { .. })
    }

    /// Wraps the error of a registry or an engine.
    #[cfg(feature = "net")]
    pub(crate) fn transport(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transport(error.into())
    }
}
