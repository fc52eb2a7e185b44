//! Transports: a directory for each, with its read and its write side.
//!
//! ```text
//! registry/ docker/ containerd/ podman/    through a network or an engine (feature `net`)
//! layout/ archive/ dir/                    files
//! erofs_cache/                             layers that containerd mounts
//! binary_cache/                            store paths that this machine lacks (feature `net`)
//! ```
//!
//! A [`ReadTransport`] opens an image, and a [`WriteTransport`] writes one. [`table`] lists all transports. [`Location`] and
//! [`Destination`] parse sources and destinations: `docker://…`, `oci:DIR`, a plain path. `http`, `engine` and `blob_files`
//! are shared by several transports.

pub(crate) mod archive;
#[cfg(feature = "net")]
pub(crate) mod binary_cache;
pub(crate) mod blob_files;
#[cfg(feature = "net")]
pub(crate) mod compression_cache;
#[cfg(feature = "net")]
pub(crate) mod containerd;
pub(crate) mod destination;
pub(crate) mod dir;
#[cfg(feature = "net")]
pub(crate) mod docker;
#[cfg(feature = "net")]
pub(crate) mod engine;
pub(crate) mod erofs_cache;
pub(crate) mod git;
#[cfg(feature = "net")]
pub(crate) mod http;
mod import;
pub(crate) mod installable;
pub(crate) mod kind;
pub(crate) mod layout;
pub(crate) mod location;
mod outcome;
mod path;
#[cfg(feature = "net")]
pub(crate) mod podman;
pub(crate) mod progress;
pub(crate) mod read;
mod recognise;
#[cfg(feature = "net")]
pub(crate) mod registry;
mod scripts;
mod suggest;
pub(crate) mod table;
pub(crate) mod write;

pub use destination::Destination;
pub use location::Location;
pub use outcome::{Details, Outcome, Sent};
#[cfg(feature = "net")]
pub use outcome::{Loaded, PushDetails};
pub use read::{ReadOptions, ReadTransport};
pub use recognise::open;
pub use write::{Referrers, WriteError, WriteOptions, WriteTransport};
