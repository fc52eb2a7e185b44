//! Talking to registries: [distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md).
//!
//! ```text
//! Reference ──▶ Client: auth, retries, TLS ──▶ blobs and manifests of one repository
//! ```
//!
//! Only with the feature `net`.

mod auth;
mod client;
mod reference;

pub use auth::Credentials;
pub use client::{Body, Client, Options, RegistryError};
pub use reference::{ParseReferenceError, Reference};
