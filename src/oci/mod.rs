//! The documents of the OCI image specification. This module does no I/O.
//!
//! The order of fields changes the bytes of a document, and with them its digest. All
//! types declare their fields in the order of the specification's Go structs, and
//! only [`json::to_vec`] serializes them.

mod config;
pub(crate) mod descriptor;
pub(crate) mod digest;
pub(crate) mod document;
mod fields;
pub(crate) mod json;
mod manifest;
pub(crate) mod name;
pub(crate) mod reference;
pub(crate) mod timestamp;
pub(crate) mod wording;

pub use reference::{ParseReferenceError, Reference};

pub use config::{Config, DEFAULT_PATH, History, ImageConfig, RootFs, find_misspelt, ignored_keys};
pub use descriptor::{Descriptor, Platform, media_type};
pub use digest::{Algorithm, Digest, Hasher, Sha256Writer};
pub use manifest::{DockerManifest, Index, Manifest};

pub use timestamp::{ParseTimestampError, Timestamp};
