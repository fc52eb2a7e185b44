//! Where an image comes from, as users write it: every command that reads images, and its help, knows the list in
//! [`READ_SCHEMES`] and nothing else. What has no scheme is a path, told apart by content.

use std::{fmt, str::FromStr, sync::Arc};

use super::{ReadOptions, ReadScheme, ReadTransport, installable, path};
use crate::image::{OpenError, Opened};

/// Every medium that strata reads.
pub const READ_SCHEMES: &[ReadScheme] = &[
    #[cfg(feature = "net")]
    super::registry::read::SCHEME,
    #[cfg(feature = "net")]
    super::docker::read::SCHEME,
    #[cfg(feature = "net")]
    super::containerd::read::SCHEME,
    #[cfg(feature = "net")]
    super::podman::read::SCHEME,
    path::OCI,
    path::OCI_ARCHIVE,
    path::DOCKER_ARCHIVE,
    path::DIR,
];

/// Where an image comes from, as skopeo users write it: `docker://…`, `oci:DIR[:TAG]`, a plain path, and so on.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub struct Location {
    source: Arc<dyn ReadTransport>,
    medium: Option<&'static str>,
    text: String,
}

impl Location {
    /// Finds what is there.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(&self, access: &ReadOptions) -> Result<Opened, OpenError> {
        self.source.open(access)
    }

    /// The name of the medium, such as `docker-daemon`; `None` for a path whose content decides.
    pub fn medium(&self) -> Option<&'static str> {
        self.medium
    }

    /// The registry host (`HOST[:PORT]`) that the image is in; `None` for every other medium.
    pub fn registry_host(&self) -> Option<&str> {
        self.source.registry_host()
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text.split_once(':').and_then(|(name, rest)| {
            let scheme = READ_SCHEMES.iter().find(|scheme| scheme.name == name)?;
            Some((scheme, rest))
        });
        let source = match scheme {
            Some((scheme, rest)) => (scheme.parse)(rest)?,
            None => installable::parse(text).unwrap_or_else(|| Ok(path::plain(text)))?,
        };
        Ok(Self { source, medium: scheme.map(|(scheme, _)| scheme.name), text: text.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Every way to write a source, for help.
pub fn read_syntaxes() -> String {
    let all: Vec<&str> = READ_SCHEMES.iter().map(|scheme| scheme.syntax).collect();
    format!("an image.json, an OCI layout, an archive, a flake reference, {}", all.join(", "))
}
