//! The results of copies. The program prints them as sentences and JSON.

#[cfg(feature = "net")]
use super::progress::EvidenceCounts;
#[cfg(feature = "net")]
use crate::attest::VerifiedLayers;
use crate::oci::Digest;

/// The result of a copy.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The digest of the manifest or index. In docker's own store and in podman it is the ID of the image.
    pub digest: Digest,
    /// The name under which an engine runs the image.
    pub reference: Option<String>,
    /// The transferred blobs.
    pub sent: Sent,
    /// The number of layers that the engine already had.
    pub skipped: usize,
    /// The details that depend on the kind of destination.
    pub details: Details,
    /// Whether the content was written to the standard output, so that nothing else may be printed there.
    pub on_stdout: bool,
}

/// Blobs and bytes that were transferred to a registry or an engine.
///
/// [Example](crate#transport).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The number of blobs, which is 0 for engines.
    pub blobs: u64,
    /// The number of bytes.
    pub bytes: u64,
}

/// The details that depend on the kind of destination.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub enum Details {
    /// A file or a directory.
    Written,
    /// A cache of layers; [`Outcome::sent`] counts those that were written.
    Cached {
        /// Layers that were already present.
        present: usize,
        /// Layers of other images that were removed.
        removed: usize,
    },
    /// A registry.
    #[cfg(feature = "net")]
    Pushed(PushDetails),
    /// An engine, or several nodes of a cluster.
    #[cfg(feature = "net")]
    Loaded(Vec<Loaded>),
}

/// The result of a push, in addition to [`Outcome`].
///
/// [Example](crate#transport).
#[cfg(feature = "net")]
#[derive(Clone, Debug)]
pub struct PushDetails {
    /// The image with its tag.
    pub reference: String,
    /// The digest before uncompressed layers of an existing image were compressed.
    pub digest_before: Option<Digest>,
    /// The number of attestations that were not copied, because their subjects are uncompressed images that the push
    /// compressed.
    pub attestations_left: usize,
    /// The number of layers that were added to the document of `--cache-to`.
    pub recorded: usize,
    /// The number of layers that could not be added to it.
    pub unrecorded: usize,
    /// How the blobs of compressed layers were determined.
    pub evidence: EvidenceCounts,
    /// The layers whose blobs this machine or a trusted key has made or verified.
    pub(crate) verified: VerifiedLayers,
    /// The mappings that were not used, one per line.
    pub warnings: Vec<String>,
}

/// The result of a load into one engine.
///
/// [Example](crate#transport).
#[cfg(feature = "net")]
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The ID of the image in the engine.
    pub id: Digest,
    /// The name of the image in the engine.
    pub reference: String,
    /// The number of layers of the image.
    pub layers: usize,
    /// The number of layers that were already present.
    pub present: usize,
    /// The number of bytes sent.
    pub bytes: u64,
    /// The reason why layers that seemed to be present were sent after all.
    pub repaired: Option<String>,
}

impl Outcome {
    /// Returns the result of writing a file or a directory.
    pub fn new(digest: Digest) -> Self {
        let (sent, details) = (Sent::default(), Details::Written);
        Self { digest, reference: None, sent, skipped: 0, details, on_stdout: false }
    }

    /// Returns how the blobs of compressed layers were determined. Only pushes compress layers.
    #[cfg(feature = "net")]
    pub fn evidence(&self) -> EvidenceCounts {
        match &self.details {
            Details::Pushed(push) => push.evidence,
            Details::Written | Details::Cached { .. } | Details::Loaded(_) => EvidenceCounts::default(),
        }
    }

    /// Returns the layers whose blobs were made or verified; none for other destinations than registries.
    #[cfg(feature = "net")]
    pub(crate) fn verified_layers(&self) -> VerifiedLayers {
        match &self.details {
            Details::Pushed(push) => push.verified.clone(),
            Details::Written | Details::Cached { .. } | Details::Loaded(_) => VerifiedLayers::default(),
        }
    }

    /// Adds the result of another node.
    #[cfg(feature = "net")]
    pub(crate) fn with_node(mut self, other: Self) -> Self {
        self.sent = self.sent + other.sent;
        self.skipped += other.skipped;
        if let (Details::Loaded(nodes), Details::Loaded(more)) = (&mut self.details, other.details) {
            nodes.extend(more);
        }
        self
    }
}

impl std::ops::Add for Sent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { blobs: self.blobs + other.blobs, bytes: self.bytes + other.bytes }
    }
}
