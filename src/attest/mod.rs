//! Attachments of images: SBOMs, and (feature `net`) signatures, provenance and the policies that require them.

pub(crate) mod sbom;
#[cfg(feature = "net")]
mod signing;
#[cfg(feature = "program")]
pub(crate) mod vex;

#[cfg(feature = "net")]
pub use signing::{
    BUNDLE, BuildClaim, BuildFacts, Bundle, Envelope, Policy, ReproducedBy, SigningError, SigningKey, Statement,
    VerifiedLayers, VerifyingKey,
};
#[cfg(feature = "net")]
pub(crate) use signing::{rebuild, simple, statement};
