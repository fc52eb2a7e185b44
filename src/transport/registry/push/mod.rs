//! A push that sends what is missing, and makes nothing else.
//!
//! ```text
//! for each layer, several at once:
//!   which blob is it?   itself, where it is not to be compressed
//!                       else what its recipe says that it compresses to
//!                       else what the local cache says it compressed to
//!                       else what the images that the tag and --cache-from name list for its diff_id: see `known`;
//!                       trusted if signed, else verified: see `mapping` and `verification`
//!   is the blob there?  HEAD: done
//!                       another repository of the registry has it: mount it
//!   else                make it, compress it, send it: one stream
//! config, then manifest under each tag, then the document of known layers: see `noted`
//! ```
//!
//! What several images of an index share is looked for and sent once.
//!
//! The manifest comes last, so a push that breaks leaves no tag that cannot be
//! pulled, and the same push again sends the rest.

mod blob;
mod known;
mod mapping;
mod noted;
mod single_flight;
mod steps;
mod verification;
mod watch;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{Client, Purpose, RegistryError, shared::Shared};
use crate::{
    attest::VerifyingKey,
    image::{ImageError, ManifestGraph},
    layer::compress::Compression,
    oci::{Digest, Reference},
    threads::{self, lock},
    transport::{
        Details, Outcome, PushDetails, Referrers, Sent, WriteError, WriteOptions, WriteTransport,
        progress::{EvidenceCounts, Fate, Progress},
        registry,
        write::SignDocument,
    },
};
use known::Known;
use noted::Change;
use steps::{Push, PushedLayer};

pub(super) fn parse(rest: &str) -> std::result::Result<Arc<dyn WriteTransport>, String> {
    let reference = registry::read::parse_reference(rest)?;
    if reference.digest.is_some() {
        return Err(format!("a destination has a tag, not a digest: {reference}"));
    }
    Ok(Arc::new(Repository { reference }))
}

/// A repository of a registry, and the tag.
#[derive(Debug)]
struct Repository {
    reference: Reference,
}

impl WriteTransport for Repository {
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
        let Pushed { digest, blobs, bytes, left, noted, evidence, warnings, .. } =
            push(content, &client, &push_options, &options.progress)?;
        let is_recompressed = digest != content.digest() && content.images().iter().any(|image| image.as_is);
        let details = PushDetails {
            reference: reference.to_string(),
            digest_before: is_recompressed.then(|| content.digest()),
            attestations_left: left,
            recorded: noted.added,
            unrecorded: noted.left,
            evidence,
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

impl Referrers for Repository {
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

/// Layers on their way at once.
const CONNECTIONS: usize = 4;

/// How to push.
#[derive(Clone)]
pub struct PushOptions {
    /// Under which tags.
    pub tags: Vec<String>,
    /// How layers that are not compressed yet are compressed.
    pub compression: Compression,
    /// How hard; `None` is the format's own.
    pub level: Option<i32>,
    /// Other repositories of the same registry to take blobs from.
    pub mount_from: Vec<String>,
    /// Tags or digests whose layers may be the same: `TAG`, or `REPOSITORY:TAG` of the same registry.
    pub cache_from: Vec<String>,
    /// Where the layers are noted for others: `TAG`, or `REPOSITORY:TAG` of the same registry.
    pub cache_to: Option<String>,
    /// Keys whose signatures make the layers that an image or a document of known layers lists trusted.
    pub trusted_keys: Vec<VerifyingKey>,
    /// Whether unsigned images and documents are trusted as well.
    pub trust_tags: bool,
    /// Signs the document of known layers.
    pub sign: Option<Arc<SignDocument>>,
    /// How the registry is reached.
    pub registry: registry::Options,
    /// What other pushes sent.
    pub shared: Option<Arc<Shared>>,
}

/// What a push did.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's size in bytes.
    pub size: u64,
    /// Blobs sent.
    pub blobs: usize,
    /// Bytes of blobs sent.
    pub bytes: u64,
    /// Attestations that say something of an image whose digest changed, and so were not sent.
    pub left: usize,
    /// What became of the document of known layers.
    pub noted: Change,
    /// How the blobs of layers that are compressed on the way were determined.
    pub evidence: EvidenceCounts,
    /// Mappings that were refuted, a line each.
    pub warnings: Vec<String>,
}

/// Why a push failed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The registry did not take it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A blob could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The manifest is malformed.
    #[error("parsing the manifest")]
    Manifest(#[source] serde_json::Error),
    /// Something else is where layers were to be noted.
    #[error("{0} is not a list of known layers; the image was pushed, but --cache-to needs a tag of its own")]
    NotNoted(String),
    /// The document of known layers could not be signed.
    #[error("signing the known layers in {place}; the image was pushed")]
    Sign {
        /// The document.
        place: String,
        /// Why not.
        source: WriteError,
    },
}

type Result<T> = std::result::Result<T, PushError>;

/// Pushes an image, or an index and all it lists, under each of the tags; under its digest without tags.
///
/// Plain layers of images are compressed, which changes the digests of the manifests and indexes above them. All else
/// stays as it is.
///
/// # Errors
///
/// [`PushError`]; no tag was changed then, or all that were hold the whole content.
pub fn push(
    content: &ManifestGraph,
    client: &Arc<Client>,
    options: &PushOptions,
    progress: &Arc<dyn Progress>,
) -> Result<Pushed> {
    let known = Known::new(client, options, content);
    let push = Push::new(client, options, known, progress);
    let pushed = push.content(content, &options.tags)?;
    let pushed = Pushed { warnings: push.warnings(), ..pushed };
    let Some(to) = &options.cache_to else { return Ok(pushed) };
    // Pushes of one process take turns, and forget nothing of each other.
    let _turn = options.shared.as_ref().map(|shared| lock(&shared.notes));
    let noted = noted::add(client, to, &push.to_note(), options)?;
    Ok(Pushed { noted, ..pushed })
}

impl Pushed {
    /// This document, and no blob.
    fn nothing(digest: Digest, document: &[u8]) -> Self {
        let size = document.len() as u64;
        let (noted, evidence) = (Change::default(), EvidenceCounts::default());
        Self { digest, size, blobs: 0, bytes: 0, left: 0, noted, evidence, warnings: Vec::new() }
    }

    fn count_layer(&mut self, layer: &PushedLayer) {
        self.count(layer.fate);
        layer.evidence.iter().for_each(|evidence| self.evidence.add(*evidence));
    }

    fn count(&mut self, fate: Fate) {
        if let Fate::Sent(bytes) = fate {
            self.blobs += 1;
            self.bytes += bytes;
        }
    }
}

/// Runs `job` for 0, 1, … `count` - 1, several at once; results are in order. After an error nothing more is begun.
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
