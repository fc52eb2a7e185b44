//! Talking to registries: [distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md).
//!
//! ```text
//! Reference ──▶ Client: auth, retries, TLS ──▶ blobs and manifests of one repository
//! ```
//!
//! Only with the feature `net`.

mod auth;
mod client;
mod error;
mod reference;

pub use auth::Credentials;
pub use client::{Body, Client, Options};
pub use error::RegistryError;
pub use reference::{ParseReferenceError, Reference};
