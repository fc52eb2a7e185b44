//! Attachments of images: SBOMs, and (feature `net`) signatures, provenance and the policies that require them.

pub(crate) mod sbom;
#[cfg(feature = "net")]
mod signing;

#[cfg(feature = "net")]
pub use signing::{BUNDLE, Build, Bundle, Envelope, Policy, SigningError, SigningKey, Statement, VerifyingKey};
#[cfg(feature = "net")]
pub(crate) use signing::{simple, statement};
