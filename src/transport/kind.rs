//! A row of the table of transports.

use std::sync::Arc;

use super::{ReadTransport, WriteTransport};

/// A kind of medium, and how its images are written on the command line.
#[derive(Debug)]
pub struct Transport {
    /// The text before the first colon.
    pub name: &'static str,
    /// A description of a few words.
    pub about: &'static str,
    pub medium: Medium,
    pub read: ReadSide,
    pub write: WriteSide,
    /// Names that users of other tools write instead, each with the flags that it implies.
    pub aliases: &'static [(&'static str, &'static str)],
}

/// The kind of a medium.
#[derive(Clone, Copy, Debug)]
pub enum Medium {
    /// A repository, reached over the network.
    Registry,
    /// The images of a container engine.
    Engine(Engine),
    /// One file.
    File,
    /// A directory.
    Directory,
}

/// An engine, and its flags in addition to `--via`.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// Its name in messages.
    pub name: &'static str,
    /// Whether it has namespaces (`--namespace`).
    pub has_namespaces: bool,
    /// Whether it is a daemon with an address (`--src-daemon-host`).
    pub has_address: bool,
}

/// The read side.
#[derive(Debug)]
pub struct ReadSide {
    /// The whole source, for help: `oci:DIR[:TAG]`.
    pub syntax: &'static str,
    /// How the text after the first colon is read.
    pub parse: ParseSource,
}

/// How the text after the colon of a source is read.
#[derive(Debug)]
pub enum ParseSource {
    /// By the transport.
    Own(fn(&str) -> Result<Arc<dyn ReadTransport>, String>),
    /// As a path, which may contain colons. Its content decides how it is opened.
    Path,
    /// As `PATH[:[NAME:]TAG]`. The content of the path decides how it is opened.
    NamedPath,
}

/// The write side.
#[derive(Debug)]
pub struct WriteSide {
    /// The whole destination, for help.
    pub syntax: &'static str,
    /// What one destination holds.
    pub holds: Capacity,
    /// Parses the text after the first colon.
    pub parse: fn(&str) -> Result<Arc<dyn WriteTransport>, String>,
}

/// What one destination holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// An index with all it lists, or else one image of one platform.
    pub index: bool,
    /// The most layers of an image, if that is limited.
    pub layers: Option<usize>,
    /// Layers that are compressed with zstd, as they are. Otherwise they are decompressed.
    pub zstd: bool,
}

impl Capacity {
    /// One image of any kind.
    pub const IMAGE: Self = Self { index: false, layers: None, zstd: true };
    /// An index with all it lists.
    pub const INDEX: Self = Self { index: true, ..Self::IMAGE };
}

impl Transport {
    /// The engine, if it is one.
    pub fn engine(&self) -> Option<&Engine> {
        match &self.medium {
            Medium::Engine(engine) => Some(engine),
            _ => None,
        }
    }
}
