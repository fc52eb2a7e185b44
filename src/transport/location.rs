//! Sources as users write them: a transport of the [table], a flake reference, or a path, whose content
//! decides.

use std::{fmt, path::Path, str::FromStr, sync::Arc};

use super::{
    ReadOptions, ReadTransport, installable,
    kind::{ParseSource, Transport},
    path, table,
};
use crate::{
    image::{OpenError, Opened},
    oci::Reference,
};

/// Where an image comes from, as skopeo users write it: `docker://…`, `oci:DIR[:TAG]`, a plain path, and so on.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub struct Location {
    source: Arc<dyn ReadTransport>,
    transport: Option<&'static Transport>,
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
        self.transport.map(|transport| transport.name)
    }

    /// The registry host (`HOST[:PORT]`) that the image is in; `None` for every other medium.
    pub fn registry_host(&self) -> Option<&str> {
        self.registry_reference().map(|reference| reference.host.as_str())
    }

    /// The file or directory that is read.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.source.file()
    }

    /// The line of the table of transports; `None` for a path whose content decides.
    pub(crate) fn transport(&self) -> Option<&'static Transport> {
        self.transport
    }

    /// The reference of the image, if it is in a registry.
    pub(crate) fn registry_reference(&self) -> Option<&Reference> {
        self.source.registry_reference()
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("the source is empty; write {}", table::read_syntaxes()));
        }
        let (source, transport) = match table::split(text) {
            Some((transport, rest)) => {
                let source = match transport.read.parse {
                    ParseSource::Own(parse) => parse(rest),
                    ParseSource::Path => path::parse_plain(rest),
                    ParseSource::NamedPath => path::parse_named(rest),
                };
                (source?, Some(transport))
            }
            None => (installable::parse(text).unwrap_or_else(|| Ok(path::plain(text)))?, None),
        };
        Ok(Self { source, transport, text: text.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
