//! Errors of requests to a registry.

use std::path::PathBuf;

use crate::transport::http::HttpError;

/// Why a request to a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The registry requires credentials, or refuses those that were sent.
    #[error("{0}\n{hint}", hint = LOGIN)]
    Login(#[source] Box<HttpError>),
    /// A configuration file or a file of credentials is malformed.
    #[error("reading {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A credential helper failed.
    #[error("docker-credential-{name}, configured in {} for {server}: {why}", file.display())]
    Helper {
        /// Its name, without `docker-credential-`.
        name: String,
        /// The file that configures it.
        file: PathBuf,
        /// Which registry it was asked for.
        server: String,
        /// Its output.
        why: String,
    },
    /// The configuration forbids this image.
    #[error("{} blocks {name}", file.display())]
    Blocked {
        /// The name without its tag.
        name: String,
        /// The file that blocks it.
        file: PathBuf,
    },
}

const LOGIN: &str =
    "Log in first (strata login, docker login, podman login or skopeo login), or give --creds or --authfile";

impl RegistryError {
    /// What is wrong with an answer.
    pub(super) fn answer(act: &'static str, why: impl Into<String>) -> Self {
        Self::Http(HttpError::Answer { act, why: why.into() })
    }

    /// The status, where the registry answered with one that was not hoped for.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Http(error) => error.status(),
            Self::Login(error) => error.status(),
            _ => None,
        }
    }
}

impl<'a> From<&'a RegistryError> for Option<&'a HttpError> {
    fn from(error: &'a RegistryError) -> Self {
        match error {
            RegistryError::Http(error) => Some(error),
            _ => None,
        }
    }
}
