//! The results of copies. Sentences and JSON are made of them by the program.

#[cfg(feature = "net")]
use super::progress::EvidenceCounts;
use crate::oci::Digest;

/// What a copy did.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The digest of the manifest or index; in docker's own store and in podman the image's ID.
    pub digest: Digest,
    /// The name under which an engine runs the image.
    pub reference: Option<String>,
    /// What was transferred.
    pub sent: Sent,
    /// Layers that an engine already had.
    pub skipped: usize,
    /// What is particular to the kind of destination.
    pub details: Details,
    /// Whether the content was written to the standard output, which takes nothing else then.
    pub on_stdout: bool,
}

/// Blobs and bytes that were transferred to a registry or an engine.
///
/// [Example](crate#transport).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The number of blobs; engines do not count them.
    pub blobs: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What is particular to the kind of destination.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub enum Details {
    /// A file or a directory.
    Written,
    /// A registry.
    #[cfg(feature = "net")]
    Pushed(PushDetails),
    /// An engine, or several nodes of a cluster.
    #[cfg(feature = "net")]
    Loaded(Vec<Loaded>),
}

/// What a push did, apart from [`Outcome`].
///
/// [Example](crate#transport).
#[cfg(feature = "net")]
#[derive(Clone, Debug)]
pub struct PushDetails {
    /// The image with its tag.
    pub reference: String,
    /// The digest before uncompressed layers of an existing image were compressed.
    pub digest_before: Option<Digest>,
    /// Attestations about uncompressed images, which are not copied when those are compressed.
    pub attestations_left: usize,
    /// Layers added to the document of `--cache-to`.
    pub recorded: usize,
    /// Layers that could not be added to it.
    pub unrecorded: usize,
    /// How the blobs of compressed layers were determined.
    pub evidence: EvidenceCounts,
    /// Mappings that were not used, a line each.
    pub warnings: Vec<String>,
}

/// What a load into one engine did.
///
/// [Example](crate#transport).
#[cfg(feature = "net")]
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the engine knows the image by.
    pub id: Digest,
    /// What people know it by there.
    pub reference: String,
    /// Layers of the image.
    pub layers: usize,
    /// Layers that were already present.
    pub present: usize,
    /// Bytes sent.
    pub bytes: u64,
    /// Why layers that seemed to be there were sent after all.
    pub repaired: Option<String>,
}

impl Outcome {
    /// Of a file or a directory.
    pub fn new(digest: Digest) -> Self {
        let (sent, details) = (Sent::default(), Details::Written);
        Self { digest, reference: None, sent, skipped: 0, details, on_stdout: false }
    }

    /// How the blobs of compressed layers were determined; only pushes compress on the way.
    #[cfg(feature = "net")]
    pub fn evidence(&self) -> EvidenceCounts {
        match &self.details {
            Details::Pushed(push) => push.evidence,
            Details::Written | Details::Loaded(_) => EvidenceCounts::default(),
        }
    }

    /// With the result of another node.
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
