//! Signatures of images, as [cosign](https://docs.sigstore.dev/cosign/signing/overview/) makes and checks them, with keys of
//! one's own.
//!
//! ```text
//! Statement (in-toto: what it is about, by digest; what it says)
//!    └─▶ Envelope (DSSE: the statement, signed)
//!           └─▶ Bundle (Sigstore 0.3: the envelope, and which key) ──▶ a referrer of the image
//! ```
//!
//! A signature of an image is a statement that says nothing but which image it is about. Attestations (a bill of materials,
//! a provenance) are statements of their own kinds. The log of public signatures (Rekor) and certificates (Fulcio) are
//! not used.

mod bundle;
mod encrypted;
mod envelope;
mod key;
mod policy;
mod provenance;
pub(crate) mod simple;
pub(crate) mod statement;

use std::{io, path::PathBuf};

pub use bundle::{Bundle, MEDIA_TYPE as BUNDLE};
pub use envelope::Envelope;
pub use key::{SigningKey, VerifyingKey};

pub use policy::Policy;
pub use provenance::Build;
pub use statement::Statement;

/// Why a signature could not be made, or does not count.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The file could not be read.
    #[error("reading {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file holds no key that can be used.
    #[error("{}: {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A document is not what it should be.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// No signature of it is the key's.
    #[error("it is not signed with this key")]
    NoMatch,
}

type Result<T> = std::result::Result<T, SigningError>;
