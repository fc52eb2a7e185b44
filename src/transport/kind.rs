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
    /// `None` if images can only be written.
    pub read: Option<ReadSide>,
    pub write: WriteSide,
    /// Names in other tools, each with the flags that it implies.
    pub aliases: &'static [(&'static str, &'static str)],
}

/// The kind of a medium.
#[derive(Clone, Copy, Debug)]
pub enum Medium {
    /// A repository, reached over the network.
    Registry,
    /// The images of a container engine.
    Engine(EngineTransport),
    /// One file.
    File,
    /// A directory.
    Directory,
    /// A directory of layers, without manifests.
    Cache,
}

/// An engine, and its flags in addition to `--via`.
#[derive(Clone, Copy, Debug)]
pub struct EngineTransport {
    /// Its name in messages.
    pub name: &'static str,
    /// Whether it has namespaces (`--namespace`).
    pub has_namespaces: bool,
    /// Whether an image is unpacked for one of several snapshotters (`--snapshotter`).
    pub has_snapshotters: bool,
    /// Whether it is a daemon with an address (`--src-daemon-host`).
    pub has_address: bool,
}

#[derive(Debug)]
pub struct ReadSide {
    /// The syntax of a source, for help: `oci:DIR[:TAG]`.
    pub syntax: &'static str,
    pub parse: ParseSource,
}

/// The way in which the text after the first colon is parsed.
#[derive(Debug)]
pub enum ParseSource {
    /// The transport has its own parser.
    Own(fn(&str) -> Result<Arc<dyn ReadTransport>, String>),
    /// As a path, which may contain colons. Its contents determine how it is opened.
    Path,
    /// As `PATH[:[NAME:]TAG]`. The contents of the path determine how it is opened.
    NamedPath,
}

#[derive(Debug)]
pub struct WriteSide {
    /// The syntax of a destination, for help.
    pub syntax: &'static str,
    pub holds: Capacity,
    /// Parses the text after the first colon.
    pub parse: fn(&str) -> Result<Arc<dyn WriteTransport>, String>,
}

/// The images that one destination can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Whether it can hold an index with all its images. Otherwise it holds one image of one platform.
    pub index: bool,
    /// The maximum number of layers of an image, if it is limited.
    pub layers: Option<usize>,
    /// Whether it can hold layers that are compressed with zstd. Otherwise these are decompressed.
    pub zstd: bool,
}

impl Capacity {
    /// One image of any kind.
    pub const IMAGE: Self = Self { index: false, layers: None, zstd: true };
    /// An index with all its images.
    pub const INDEX: Self = Self { index: true, ..Self::IMAGE };
}

impl Transport {
    /// Returns the engine if the medium is one.
    pub fn engine(&self) -> Option<&EngineTransport> {
        match &self.medium {
            Medium::Engine(engine) => Some(engine),
            _ => None,
        }
    }
}
