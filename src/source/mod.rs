//! Images written by others, read: archives and directories, told apart by content.
//!
//! ```text
//! docker://, oci:, OCI archives, dir: ──▶ Store ─┐
//! docker archives ──▶ manifests made ────▶ Store ─┴─▶ Found ──▶ Node ──▶ ImageBlobs, Content
//! image.json ───────────────────────────────────────▶ Image ──────────▶ ImageBlobs
//! docker-daemon:, containerd:, containers-storage: ──▶ archives that the engines write
//! ```
//!
//! A [`Store`] opens blobs by digest, a [`Node`] is a descriptor that is walked there, and [`Found`] is what a name
//! leads to. Everything here is hostile until its digest was checked: names are compared, never joined to a path, and
//! every document is bounded.

mod archive;
#[cfg(feature = "net")]
mod containerd;
mod contents;
mod dir;
mod directory;
mod docker;
#[cfg(feature = "net")]
mod docker_daemon;
mod error;
mod found;
mod graph;
mod layout;
mod location;
mod lock;
mod opened;
mod path;
#[cfg(feature = "net")]
mod podman;
mod recipe;
mod recognise;
#[cfg(feature = "net")]
pub mod remote;
mod scan;
mod scheme;
mod store;

pub use crate::layer::Packing;
pub use error::SourceError;
pub use found::{Choice, Found, Wanted};
pub use graph::Node;
pub use location::{Location, SCHEMES, syntaxes};
pub use lock::{Lock, LockedImage};
pub use opened::Opened;
pub use recognise::open;
pub use scheme::{Access, Scheme, Source};
pub use store::Store;
