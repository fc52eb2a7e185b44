//! Talking to registries: [distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md).
//!
//! ```text
//! Reference ──▶ Client ──▶ Transport: auth, TLS, retries ──▶ the registry
//!               blobs, manifests, uploads of one repository
//! ```
//!
//! Only with the feature `net`.

mod auth;
mod client;
mod error;
mod reference;
pub(crate) mod tls;
mod transport;
mod upload;

pub use auth::Credentials;
pub use client::{Client, Document};
pub use error::RegistryError;
pub use reference::{ParseReferenceError, Reference};
pub use transport::Options;
pub use upload::Upload;
