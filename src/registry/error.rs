//! What can go wrong between us and a registry, and what of it may pass.

use std::{path::PathBuf, time::Duration};

use crate::image::ImageError;

/// Why a registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It could not be asked.
    #[error("{act} at {url}")]
    Http {
        /// What was tried.
        act: &'static str,
        /// Where, without its query.
        url: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// It said no.
    #[error("{act}: the registry answered {status} at {url}{detail}")]
    Status {
        /// What was tried.
        act: &'static str,
        /// Where, without its query.
        url: String,
        /// The status.
        status: u16,
        /// Its own words, and the way out where we know one.
        detail: String,
        /// How long it asks us to wait (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// Its answer makes no sense.
    #[error("{act}: {why}")]
    Answer {
        /// What was tried.
        act: &'static str,
        /// What is wrong with the answer.
        why: String,
    },
    /// Stored credentials could not be read.
    #[error("reading the credentials in {}", path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// Certificates could not be read.
    #[error("reading the certificates in {}", path.display())]
    Certificates {
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
}

impl RegistryError {
    /// What went wrong on the way to `url`.
    pub(super) fn http(act: &'static str, url: &str, source: ureq::Error) -> Self {
        Self::Http { act, url: without_query(url), source: Box::new(source) }
    }

    /// How long to wait, at least, before the same is worth trying again; `None` if it never is.
    pub(super) fn passes_after(&self) -> Option<Duration> {
        match self {
            Self::Http { source, .. } => (!is_ours(source)).then_some(Duration::ZERO),
            Self::Status { status: 408 | 429 | 500..=599, retry_after, .. } => Some(retry_after.unwrap_or_default()),
            Self::Status { .. } | Self::Answer { .. } | Self::AuthFile { .. } | Self::Certificates { .. } => None,
        }
    }
}

/// Whether it was not the registry that failed, but our own making of a blob.
fn is_ours(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.get_ref().is_some_and(|inner| inner.is::<ImageError>()),
        _ => false,
    }
}

/// Queries may hold signatures and tokens.
pub(super) fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
