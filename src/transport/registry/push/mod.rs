//! Pushes an image. Only missing blobs are made and sent.
//!
//! ```text
//! for each layer, several at once:
//!   which blob is it?   itself, where it is not to be compressed
//!                       else the blob that its recipe lists
//!                       else the blob that the local cache lists
//!                       else what the images that the tag and --cache-from name list for its diff_id: see `known`;
//!                       trusted if signed, else verified: see `mapping` and `verification`
//!   is the blob there?  HEAD: done
//!                       another repository of the registry has it: mount it
//!   else                make it, compress it, send it: one stream
//! config, then manifest under each tag, then the document of known layers: see `known_layers`
//! ```
//!
//! A blob that several images of an index share is searched and sent once.
//!
//! The manifest is written last. A push that breaks therefore leaves no incomplete tag, and the next push sends the
//! rest.

mod blob;
mod existing;
mod known;
mod known_layers;
mod mapping;
mod single_flight;
mod steps;
mod verification;
mod watch;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Client, Purpose, RegistryError, shared::SharedBlobs};
use crate::{
    attest::{VerifiedLayers, VerifyingKey},
    image::{ImageError, ManifestGraph},
    layer::compress::Compression,
    oci::{Digest, Reference},
    threads::{self, lock},
    transport::{
        Details, Outcome, PushDetails, Referrers, Sent, WriteError, WriteOptions, WriteTransport,
        progress::{Evidence, EvidenceCounts, Fate, Progress},
        registry,
        write::SignDocument,
    },
};
use known::KnownMappings;
use known_layers::DocumentChange;
use steps::{Push, PushedLayer};

pub(super) fn parse(rest: &str) -> std::result::Result<Arc<dyn WriteTransport>, String> {
    let reference = registry::read::parse_reference(rest)?;
    if reference.digest.is_some() {
        return Err(format!("a destination has a tag, not a digest: {reference}"));
    }
    Ok(Arc::new(PushTarget { reference }))
}

/// A repository of a registry, and the tag.
#[derive(Debug)]
struct PushTarget {
    reference: Reference,
}

impl WriteTransport for PushTarget {
    fn write(&self, content: &ManifestGraph, options: &WriteOptions) -> std::result::Result<Outcome, WriteError> {
        let reference = &self.reference;
        let client = Arc::new(Client::for_purpose(Purpose::Write, reference, &options.registry)?);
        let mut tags = vec![reference.version()];
        tags.extend(options.additional_tags.iter().cloned());
        let push_options = PushOptions {
            tags,
            compression: options.compression,
            level: options.level,
            mount_from: options.mount_from.clone(),
            cache_from: options.cache_from.clone(),
            cache_to: options.cache_to.clone(),
            trusted_keys: options.trusted_keys.clone(),
            trust_tags: options.trust_tags,
            sign: options.sign.clone(),
            registry: options.registry.clone(),
            shared: options.shared.clone(),
        };
        let pushed = push(content, &client, &push_options, &options.progress)?;
        let verified = pushed.verified_layers();
        let PushResult { digest, blobs, bytes, attestations_left, change, evidence, warnings, .. } = pushed;
        let is_recompressed = digest != content.digest() && content.images().iter().any(|image| image.as_is);
        let details = PushDetails {
            reference: reference.to_string(),
            digest_before: is_recompressed.then(|| content.digest()),
            attestations_left,
            recorded: change.added,
            unrecorded: change.unmounted,
            evidence,
            verified,
            warnings,
        };
        let sent = Sent { blobs: blobs as u64, bytes };
        Ok(Outcome { sent, details: Details::Pushed(details), ..Outcome::new(digest) })
    }

    fn registry_reference(&self) -> Option<&Reference> {
        Some(&self.reference)
    }

    fn referrers(&self) -> Option<&dyn Referrers> {
        Some(self)
    }
}

impl Referrers for PushTarget {
    fn add(&self, referrer: &ManifestGraph, options: &WriteOptions) -> std::result::Result<(), WriteError> {
        let client = Arc::new(Client::for_purpose(Purpose::Write, &self.reference, &options.registry)?);
        let as_is = PushOptions {
            tags: Vec::new(),
            compression: Compression::None,
            level: None,
            mount_from: options.mount_from.clone(),
            cache_from: Vec::new(),
            cache_to: None,
            trusted_keys: Vec::new(),
            trust_tags: false,
            sign: None,
            registry: options.registry.clone(),
            shared: options.shared.clone(),
        };
        push(referrer, &client, &as_is, &options.progress)?;
        Ok(())
    }
}

/// The number of layers that are pushed at once.
const CONNECTIONS: usize = 4;

/// The options of a push.
#[derive(Clone)]
pub struct PushOptions {
    /// The tags to write.
    pub tags: Vec<String>,
    /// The compression of layers that are not compressed yet.
    pub compression: Compression,
    /// The compression level. `None` is the default of the format.
    pub level: Option<i32>,
    /// Other repositories of the same registry from which blobs can be mounted.
    pub mount_from: Vec<String>,
    /// Tags or digests whose images may share layers: `TAG`, or `REPOSITORY:TAG` of the same registry.
    pub cache_from: Vec<String>,
    /// The place of the document of known layers: `TAG`, or `REPOSITORY:TAG` of the same registry.
    pub cache_to: Option<String>,
    /// Keys whose signatures make the layers that an image or a document of known layers lists trusted.
    pub trusted_keys: Vec<VerifyingKey>,
    /// Whether unsigned images and documents are trusted as well.
    pub trust_tags: bool,
    /// Signs the document of known layers.
    pub sign: Option<Arc<SignDocument>>,
    /// Options for reaching registries.
    pub registry: registry::Options,
    /// The blobs that other pushes sent.
    pub shared: Option<Arc<SharedBlobs>>,
}

/// The result of a push.
#[derive(Clone, Debug)]
pub struct PushResult {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The size of the manifest in bytes.
    pub size: u64,
    /// The number of blobs sent.
    pub blobs: usize,
    /// The number of bytes of blobs sent.
    pub bytes: u64,
    /// The number of attestations that were not sent, because the digest of their subject changed.
    pub attestations_left: usize,
    /// The change of the document of known layers.
    pub change: DocumentChange,
    /// How the blobs of compressed layers were determined.
    pub evidence: EvidenceCounts,
    /// The blobs of layers that this machine or a trusted key has made or verified.
    pub verified: BTreeSet<Digest>,
    /// The blobs of layers whose diff_id is only a claim of an image. They can be in `verified` too, with another diff_id.
    pub unverified: BTreeSet<Digest>,
    /// The mappings that were refuted, one per line.
    pub warnings: Vec<String>,
}

/// The error of a push.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// A request failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A blob could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The manifest is malformed.
    #[error("parsing the manifest")]
    Manifest(#[source] serde_json::Error),
    /// The place of the document of known layers has other content.
    #[error("{0} is not a list of known layers; the image was pushed, but --cache-to needs a tag of its own")]
    NotNoted(String),
    /// The document of known layers could not be signed.
    #[error("signing the known layers in {place}; the image was pushed")]
    Sign { place: String, source: WriteError },
}

type Result<T> = std::result::Result<T, PushError>;

/// Pushes an image, or an index with all its images, under each of the tags, or without tags under its digest.
///
/// Uncompressed layers are compressed, which changes the digests of the manifests and indexes above them. Everything
/// else is unchanged.
///
/// # Errors
///
/// [`PushError`]. Each tag is then unchanged, or has the whole content.
pub fn push(
    content: &ManifestGraph,
    client: &Arc<Client>,
    options: &PushOptions,
    progress: &Arc<dyn Progress>,
) -> Result<PushResult> {
    let known = KnownMappings::new(client, options, content);
    let push = Push::new(client, options, known, progress);
    let pushed = push.content(content, &options.tags)?;
    let pushed = PushResult { warnings: push.warnings(), ..pushed };
    let Some(to) = &options.cache_to else { return Ok(pushed) };
    // Pushes of one process update the document in turn, so that no update is lost.
    let _turn = options.shared.as_ref().map(|shared| lock(&shared.notes));
    let change = known_layers::add(client, to, &push.layers_to_record(), options)?;
    Ok(PushResult { change, ..pushed })
}

impl PushResult {
    /// Returns the result for this document without blobs.
    fn nothing(digest: Digest, document: &[u8]) -> Self {
        let size = document.len() as u64;
        let (change, evidence) = (DocumentChange::default(), EvidenceCounts::default());
        let (verified, unverified, warnings) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let attestations_left = 0;
        Self { digest, size, blobs: 0, bytes: 0, attestations_left, change, evidence, verified, unverified, warnings }
    }

    fn count_layer(&mut self, layer: &PushedLayer) {
        self.count(layer.fate);
        layer.evidence.iter().for_each(|evidence| self.evidence.add(*evidence));
        let is_own = layer.evidence.is_some_and(Evidence::is_own);
        if is_own { &mut self.verified } else { &mut self.unverified }.insert(layer.blob.digest);
    }

    /// Returns the layers that a signature lists as verified. The list names only blobs, so a blob with a second diff_id that is
    /// only a claim, in this or another image of the index, is not listed.
    fn verified_layers(&self) -> VerifiedLayers {
        match self.unverified.is_empty() {
            true => VerifiedLayers::ALL,
            false => VerifiedLayers::Listed(&self.verified - &self.unverified),
        }
    }

    fn count(&mut self, fate: Fate) {
        if let Fate::Sent(bytes) = fate {
            self.blobs += 1;
            self.bytes += bytes;
        }
    }
}

/// Runs `job` for 0, 1, … `count` - 1, several at once. The results are in order. After an error, no new jobs start.
fn in_parallel<T: Send>(count: usize, job: &(dyn Fn(usize) -> Result<T> + Sync)) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<T>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    threads::run_in_parallel(CONNECTIONS.min(count), &|| {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = results.get(at) else { return };
            let result = job(at);
            if result.is_err() {
                next.store(count, Ordering::Relaxed);
            }
            *lock(slot) = Some(result);
        }
    });
    let finished =
        results.into_iter().filter_map(|slot| slot.into_inner().unwrap_or_else(|poison| poison.into_inner()));
    finished.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Descriptor, descriptor::media_type};

    #[test]
    fn a_blob_with_a_second_diff_id_that_is_not_verified_is_not_listed() {
        let layer = |text: &str, evidence| PushedLayer {
            blob: Descriptor::new(media_type::LAYER_GZIP, Digest::sha256(text.as_bytes()), 1),
            fate: Fate::Present,
            evidence,
        };
        for claim in [None, Some(Evidence::Claimed)] {
            let mut pushed = PushResult::nothing(Digest::sha256(b"image"), b"image");
            for text in ["one", "two"] {
                pushed.count_layer(&layer(text, Some(Evidence::Made)));
            }
            assert_eq!(pushed.verified_layers(), VerifiedLayers::ALL);
            pushed.count_layer(&layer("two", claim));
            assert_eq!(pushed.verified_layers(), VerifiedLayers::Listed(BTreeSet::from([Digest::sha256(b"one")])));
        }
    }
}
