//! Signatures of images with keys of the user, compatible with
//! [cosign](https://docs.sigstore.dev/cosign/signing/overview/).
//!
//! ```text
//! Statement (in-toto: the digests of the subject, and a predicate)
//!    └─▶ Envelope (DSSE: the statement and its signature)
//!           └─▶ Bundle (Sigstore 0.3: the envelope and a hint for the key) ──▶ a referrer of the image
//! ```
//!
//! The signature of an image is a statement with an empty predicate. Attestations (SBOM, provenance) are statements with
//! predicates of other types. The transparency log (Rekor) and certificates (Fulcio) are not used.

mod bundle;
mod encrypted;
mod envelope;
mod key;
mod policy;
mod provenance;
pub(crate) mod rebuild;
pub(crate) mod simple;
pub(crate) mod statement;

use std::{io, path::PathBuf};

pub use bundle::{Bundle, MEDIA_TYPE as BUNDLE};
pub use envelope::Envelope;
pub use key::{SigningKey, VerifyingKey};

pub use policy::{Policy, ReproducedBy};
pub use provenance::{BuildClaim, BuildFacts};
pub use statement::{Statement, VerifiedLayers};

/// The reason that a signature cannot be made, or is not valid.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A file cannot be read.
    #[error("reading {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file has no usable key.
    #[error("{}: {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The problem of the document.
        why: String,
    },
    /// A document is malformed.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// The document.
        what: &'static str,
        /// The problem of the document.
        why: String,
    },
    /// The key made none of the signatures.
    #[error("it is not signed with this key")]
    NoMatch,
}

type Result<T> = std::result::Result<T, SigningError>;
