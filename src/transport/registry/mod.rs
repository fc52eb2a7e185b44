//! A client of registries: [distribution
//! specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md).
//!
//! ```text
//! Reference ──▶ places: registries.conf's mirrors, then the registry itself
//!                 │
//!                 ▼
//! Client ──▶ Session: one of them ──▶ crate::transport::http
//! blobs,        │
//! manifests,    └── 401: challenge ──▶ token for these scopes ◀── Credentials of flags, files, helpers
//! uploads, referrers of one repository
//! ```
//!
//! This module requires the feature `net`.

mod artifact;
mod challenge;
mod client;
mod credentials;
mod error;
mod options;
mod pages;
pub(crate) mod push;
pub(crate) mod read;
mod referrers;
pub(crate) mod registries_conf;
mod session;
pub(crate) mod shared;
pub(crate) mod signatures;
mod tagged;
mod tags;
mod token;
mod upload;

use super::kind::{Capacity, Medium, ParseSource, ReadSide, Transport, WriteSide};
pub use artifact::Artifact;
pub use challenge::Challenge;
pub use client::{Client, Mount, Purpose, RegistryDocument};
use credentials::canonical_host;
pub use credentials::{Credentials, Login};
pub use error::RegistryError;
pub use options::{HostOptions, Options};
pub use tagged::Tagged;
pub use upload::Upload;

/// How an image of a registry is written.
pub(crate) const READ_SYNTAX: &str = "docker://HOST/NAME[:TAG|@DIGEST]";

/// `docker://HOST/NAME:TAG`
pub(crate) const TRANSPORT: Transport = Transport {
    name: "docker",
    about: "registry",
    medium: Medium::Registry,
    read: Some(ReadSide { syntax: READ_SYNTAX, parse: ParseSource::Own(read::parse) }),
    write: WriteSide { syntax: "docker://HOST/NAME:TAG", holds: Capacity::INDEX, parse: push::parse },
    aliases: &[],
};

type Result<T> = std::result::Result<T, RegistryError>;
