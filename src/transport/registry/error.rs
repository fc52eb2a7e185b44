//! Errors of requests to a registry.

use std::path::PathBuf;

use crate::transport::http::HttpError;

/// The error of a request to a registry.
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
    File { path: PathBuf, why: String },
    /// A credential helper failed.
    #[error("docker-credential-{name}, configured in {} for {server}: {why}", file.display())]
    Helper {
        /// The name without `docker-credential-`.
        name: String,
        /// The file that configures the helper.
        file: PathBuf,
        /// The registry for which the helper was run.
        server: String,
        /// The output of the helper.
        why: String,
    },
    /// The configuration forbids this image.
    #[error("{} blocks {name}", file.display())]
    Blocked {
        /// The name without its tag.
        name: String,
        /// The file that blocks the image.
        file: PathBuf,
    },
}

const LOGIN: &str =
    "Log in first (strata login, docker login, podman login or skopeo login), or give --creds or --authfile";

impl RegistryError {
    /// Returns the error for a wrong response.
    pub(super) fn answer(act: &'static str, why: impl Into<String>) -> Self {
        Self::Http(HttpError::Answer { act, why: why.into() })
    }

    /// Whether the body of the request could not be made, so that the registry is not the cause.
    pub(super) fn is_of_body(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_of_body())
    }

    /// Returns the status of an unexpected response.
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
