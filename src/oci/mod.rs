//! The OCI image specification's documents, and nothing that does I/O.
//!
//! Field order is part of the bytes, and so of every digest: types are written
//! in the order of the specification's Go structs and serialized by
//! [`json::to_vec`] alone.

mod config;
pub(crate) mod descriptor;
pub(crate) mod digest;
pub(crate) mod document;
pub(crate) mod json;
mod manifest;
pub(crate) mod name;
pub(crate) mod reference;
pub(crate) mod timestamp;
pub(crate) mod wording;

pub use reference::{ParseReferenceError, Reference};

pub use config::{Config, History, ImageConfig, RootFs, find_misspelt, ignored_keys};
pub use descriptor::{Descriptor, Platform, media_type};
pub use digest::{Algorithm, Digest, Hasher, Sha256Writer};
pub use manifest::{DockerManifest, Index, Manifest};

pub use timestamp::{ParseTimestampError, Timestamp};
