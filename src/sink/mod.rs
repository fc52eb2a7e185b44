//! Images written; one file a medium.
//!
//! - [`archive`]: a tar for `docker load`, podman and skopeo.
//! - [`layout`]: an OCI layout directory, added to; skopeo's `dir:`.
//! - `registry` (feature `net`): a push that sends what is missing, and makes nothing else.

pub mod archive;
#[cfg(feature = "net")]
mod cache;
pub mod layout;
pub mod progress;
#[cfg(feature = "net")]
pub mod registry;
