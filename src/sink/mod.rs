//! Content written; one file a medium, which [`SCHEMES`] lists.
//!
//! - [`archive`]: a tar for `docker load`, podman and skopeo.
//! - [`layout`]: an OCI layout directory, added to.
//! - [`dir`]: skopeo's `dir:`.
//! - `registry` (feature `net`): a push that sends what is missing, and makes nothing else.
//! - `daemon` (feature `net`): a docker daemon, given the layers it lacks.
//! - `serve` (feature `net`): a registry that others pull from.
//! - `podman` (feature `net`): podman, which pulls from such a registry.

pub mod archive;
#[cfg(feature = "net")]
mod cache;
#[cfg(feature = "net")]
pub mod daemon;
mod destination;
pub mod dir;
pub mod layout;
#[cfg(feature = "net")]
pub mod podman;
pub mod progress;
#[cfg(feature = "net")]
pub mod registry;
#[cfg(feature = "net")]
pub mod serve;

pub use destination::{
    Destination, Holds, HoldsOne, SCHEMES, Scheme, Sink, WriteError, WriteOptions, Written, syntaxes,
};
