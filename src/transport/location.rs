//! Sources of the command line: a transport of the [table] and the text after its name, a flake reference, or a path
//! whose contents determine the transport.

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

/// A source, in the syntax of skopeo: `docker://…`, `oci:DIR[:TAG]`, a path, and so on.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub struct Location {
    source: Arc<dyn ReadTransport>,
    transport: Option<&'static Transport>,
    text: String,
}

impl Location {
    /// Opens the source.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(&self, access: &ReadOptions) -> Result<Opened, OpenError> {
        self.source.open(access)
    }

    /// Returns the name of the medium, such as `docker-daemon`, or `None` for a path.
    pub fn medium(&self) -> Option<&'static str> {
        self.transport.map(|transport| transport.name)
    }

    /// Returns the registry host (`HOST[:PORT]`), or `None` for other media.
    pub fn registry_host(&self) -> Option<&str> {
        self.registry_reference().map(|reference| reference.host.as_str())
    }

    /// Returns the file or directory that is read.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.source.file()
    }

    /// Returns the row of the table of transports, or `None` for a path.
    pub(crate) fn transport(&self) -> Option<&'static Transport> {
        self.transport
    }

    /// Returns the reference if the image is in a registry.
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
                let read = transport.read.as_ref().ok_or_else(|| {
                    format!("{}: can only be written; sources are {}", transport.name, table::read_syntaxes())
                })?;
                let source = match read.parse {
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
