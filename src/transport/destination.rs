//! Destinations of the command line: a transport of the [table] and the text after its name.

use std::{
    fmt,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
    str::FromStr,
    sync::Arc,
};

use super::{
    Location, Referrers, WriteError, WriteOptions, WriteTransport,
    kind::Transport,
    outcome::Outcome,
    suggest::suggest,
    table::{self, TRANSPORTS},
};
use crate::{image::ManifestGraph, oci::Reference};

/// A destination, in the syntax of skopeo.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub struct Destination {
    transport: &'static Transport,
    sink: Arc<dyn WriteTransport>,
    text: String,
}

/// The error of writing several images to a destination for one image.
#[derive(Debug, thiserror::Error)]
#[error("{scheme}: can hold only one image; omit --all, choose one with --platform, or copy to {others}")]
pub struct HoldsOne {
    scheme: &'static str,
    others: String,
}

/// The error of writing referrers to a destination that cannot hold them.
#[derive(Debug, thiserror::Error)]
#[error("{0}: cannot hold the referrers of an image; omit --referrers, or copy to docker:// or oci:")]
pub struct NoReferrers(&'static str);

impl Destination {
    /// Returns the side of the destination that writes referrers.
    ///
    /// # Errors
    ///
    /// [`NoReferrers`].
    pub fn referrers(&self) -> Result<&dyn Referrers, NoReferrers> {
        self.sink.referrers().ok_or(NoReferrers(self.transport.name))
    }

    /// Writes `content` to the destination.
    ///
    /// # Errors
    ///
    /// [`HoldsOne`], and the errors of the medium.
    pub fn write(&self, content: &ManifestGraph, options: &WriteOptions) -> Result<Outcome, WriteError> {
        self.check_holds(content)?;
        self.sink.write(content, options)
    }

    /// Whether the destination is a registry. The registry settings in [`WriteOptions`] have no effect on other
    /// destinations.
    pub fn is_registry(&self) -> bool {
        self.registry_host().is_some()
    }

    /// Returns the registry host (`HOST[:PORT]`), or `None` for other media.
    pub fn registry_host(&self) -> Option<&str> {
        self.registry_reference().map(|reference| reference.host.as_str())
    }

    /// Returns the row of the table of transports.
    pub(crate) fn transport(&self) -> &'static Transport {
        self.transport
    }

    /// Returns the reference if the destination is in a registry.
    pub(crate) fn registry_reference(&self) -> Option<&Reference> {
        self.sink.registry_reference()
    }

    /// Whether writing replaces the file that `source` reads.
    pub(crate) fn replaces(&self, source: &Location) -> bool {
        let identity =
            |path: &Path| fs::metadata(path).ok().filter(Metadata::is_file).map(|file| (file.dev(), file.ino()));
        let (read, written) = (source.file().and_then(identity), self.sink.file().and_then(identity));
        read.is_some() && read == written
    }

    /// Whether the content is written to the standard output.
    pub fn is_stdout(&self) -> bool {
        self.sink.is_stdout()
    }

    /// The name of the medium, such as `docker-daemon`.
    pub fn medium(&self) -> &'static str {
        self.transport.name
    }

    fn check_holds(&self, content: &ManifestGraph) -> Result<(), HoldsOne> {
        match content {
            ManifestGraph::Image(_) => Ok(()),
            ManifestGraph::Index(_) => self.check_holds_index(),
        }
    }

    /// Refuses an index for a destination that holds one image, before anything is read.
    ///
    /// # Errors
    ///
    /// [`HoldsOne`].
    pub fn check_holds_index(&self) -> Result<(), HoldsOne> {
        if self.transport.write.holds.index {
            return Ok(());
        }
        let others = TRANSPORTS.iter().map(|transport| &transport.write).filter(|write| write.holds.index);
        let others: Vec<&str> = others.map(|write| write.syntax).collect();
        Err(HoldsOne { scheme: self.transport.name, others: others.join(", ") })
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (transport, rest) = table::split(text).ok_or_else(|| {
            let suggestion = suggest(text).map(|suggestion| format!("{suggestion}; ")).unwrap_or_default();
            format!("{suggestion}destinations are {}", table::write_syntaxes())
        })?;
        Ok(Self { transport, sink: (transport.write.parse)(rest)?, text: text.to_owned() })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
