//! What can go wrong between us and a registry.

use std::path::PathBuf;

use crate::transport::http::HttpError;

/// Why a registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It could not be asked, or said no.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It wants to know who we are, and what it was told is not enough.
    #[error("{0}\n{hint}", hint = LOGIN)]
    Login(#[source] Box<HttpError>),
    /// A file that says how registries are reached, or who we are to them, is of no use.
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
        /// Who names it.
        file: PathBuf,
        /// Which registry it was asked for.
        server: String,
        /// What it said.
        why: String,
    },
    /// The configuration forbids this image.
    #[error("{} blocks {name}", file.display())]
    Blocked {
        /// The name without its tag.
        name: String,
        /// Who says so.
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
