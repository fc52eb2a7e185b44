//! Content written; one file a medium, which [`SCHEMES`] lists.
//!
//! - [`archive`]: a tar for `docker load`, podman and skopeo.
//! - [`layout`]: an OCI layout directory, added to.
//! - [`dir`]: skopeo's `dir:`.
//! - [`blobs`]: the files of these two.
//! - `registry` (feature `net`): a push that sends what is missing, and makes nothing else; `fleet`: what several share.
//! - `daemon` (feature `net`): a docker daemon, given the layers it lacks.
//! - `serve` (feature `net`): a registry that others pull from.
//! - `containerd` (feature `net`): containerd, through its command `ctr`.
//! - `podman` (feature `net`): podman, through its own command.

pub mod archive;
pub mod blobs;
#[cfg(feature = "net")]
mod cache;
#[cfg(feature = "net")]
pub mod containerd;
#[cfg(feature = "net")]
pub mod daemon;
mod destination;
pub mod dir;
#[cfg(feature = "net")]
mod fleet;
pub mod layout;
#[cfg(feature = "net")]
mod loaded;
#[cfg(feature = "net")]
pub mod podman;
pub mod progress;
#[cfg(feature = "net")]
pub mod registry;
mod scheme;
#[cfg(feature = "net")]
pub mod serve;

#[cfg(feature = "net")]
pub use loaded::Loaded;

pub use destination::{Destination, HoldsOne, NoReferrers, SCHEMES, syntaxes};
#[cfg(feature = "net")]
pub use fleet::Shared;
#[cfg(feature = "net")]
pub use scheme::SignDocument;
pub use scheme::{Holds, Referrers, Scheme, Sink, WriteError, WriteOptions, Written};
