//! A push that sends what is missing, and makes nothing else.
//!
//! ```text
//! for each layer, several at once:
//!   which blob is it?   itself, where it is not to be compressed
//!                       else what its recipe says that it compresses to
//!                       else what the local cache says it compressed to
//!                       else what the images that the tag names now made of it (its diff_id): see `known`
//!                       else, where it is big, what those of the repository's newest tags made of it
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
mod homes;
mod known;
mod noted;
mod shared;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use blob::Watch;
use known::Known;
use noted::{Change, Noted};
pub use shared::Shared;

use super::{
    cache::Cache,
    destination::{Holds, Referrers, Scheme, Sink, WriteError, WriteOptions, Written},
    progress::{Fate, Progress},
};
use crate::{
    blobs::{ImageBlobs, LayerBlob},
    content::{Content, IndexBlobs},
    image::ImageError,
    layer::compress::Compression,
    oci::{Descriptor, Digest, Index, json, media_type},
    registry::{self, Client, Mount, ParseReferenceError, Reference, RegistryError},
};

/// `docker://HOST/NAME:TAG`
pub const SCHEME: Scheme = Scheme {
    name: "docker",
    syntax: "docker://HOST/NAME:TAG",
    about: "registry",
    holds: Holds::Index,
    parse: |rest| {
        let reference = rest.strip_prefix("//").ok_or("write docker://HOST/NAME:TAG")?;
        let reference: Reference = reference.parse().map_err(|error: ParseReferenceError| error.to_string())?;
        if reference.digest.is_some() {
            return Err(format!("a destination has a tag, not a digest: {reference}"));
        }
        Ok(Arc::new(Repository { reference }))
    },
};

/// A repository of a registry, and the tag.
#[derive(Debug)]
struct Repository {
    reference: Reference,
}

impl Sink for Repository {
    fn write(&self, content: &Content, options: &WriteOptions) -> std::result::Result<Written, WriteError> {
        let reference = &self.reference;
        let client = Client::new(reference, &options.registry)?;
        let mut tags = vec![reference.version()];
        tags.extend(options.additional_tags.iter().cloned());
        let push_options = Options {
            tags,
            compression: options.compression,
            level: options.level,
            mount_from: options.mount_from.clone(),
            cache_from: options.cache_from.clone(),
            cache_to: options.cache_to.clone(),
            registry: options.registry.clone(),
            shared: options.shared.clone(),
        };
        let Pushed { digest, blobs, bytes, left, noted, .. } =
            push(content, &client, &push_options, &options.progress)?;
        let event = serde_json::json!({ "event": "pushed", "reference": reference.to_string(), "digest": digest,
            "blobs": blobs, "bytes": bytes, "attestationsLeft": left, "noted": noted.added });
        let mut says = Vec::new();
        if noted.left > 0 {
            says.push(format!(
                "{} layers are not noted in {}: the registry does not mount blobs of {} there; give --cache-to a tag of {2} itself",
                noted.left,
                options.cache_to.as_deref().unwrap_or_default(),
                reference.repository
            ));
        }
        if digest != content.digest() && content.images().iter().any(|image| image.as_is) {
            let left = match left {
                0 => String::new(),
                left => format!(" and {left} attestations for the uncompressed images were not copied"),
            };
            says.push(format!(
                "plain layers were compressed: the digest was {}{left}; --preserve-digests keeps it",
                content.digest()
            ));
        }
        Ok(Written { act: "pushed", says, event: Some(event), ..Written::new(digest) })
    }

    fn referrers(&self) -> Option<&dyn Referrers> {
        Some(self)
    }
}

impl Referrers for Repository {
    fn add(&self, referrer: &Content, options: &WriteOptions) -> std::result::Result<(), WriteError> {
        let client = Client::new(&self.reference, &options.registry)?;
        let as_is = Options {
            tags: Vec::new(),
            compression: Compression::None,
            level: None,
            mount_from: options.mount_from.clone(),
            cache_from: Vec::new(),
            cache_to: None,
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
#[derive(Clone, Debug)]
pub struct Options {
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
    /// How the registry is reached.
    pub registry: registry::Options,
    /// What other pushes sent.
    pub shared: Option<Arc<Shared>>,
}

/// What a push did.
#[derive(Clone, Copy, Debug)]
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
pub fn push(content: &Content, client: &Client, options: &Options, progress: &Arc<dyn Progress>) -> Result<Pushed> {
    let known = Known::new(client, options, content);
    let compressed = Mutex::default();
    let push = Push { client, options, known, cache: Cache::of_user(), progress, slots: Mutex::default(), compressed };
    let pushed = push.content(content, &options.tags)?;
    let Some(to) = &options.cache_to else { return Ok(pushed) };
    // Pushes of one process take turns, and forget nothing of each other.
    let _turn = options.shared.as_ref().map(|shared| lock(&shared.notes));
    let noted = noted::add(client, to, &lock(&push.compressed), options)?;
    Ok(Pushed { noted, ..pushed })
}

/// The image that an attestation of buildx's, as an index lists it, is about.
fn subject(descriptor: &Descriptor) -> Option<Digest> {
    descriptor.annotations.get("vnd.docker.reference.digest")?.parse().ok()
}

/// A push on its way.
struct Push<'a> {
    client: &'a Client,
    options: &'a Options,
    known: Known<'a>,
    cache: Cache,
    progress: &'a Arc<dyn Progress>,
    /// The blobs that are there by now, by digest and whether they are compressed on the way. Whoever holds a slot
    /// sends.
    slots: Mutex<HashMap<(Digest, bool), Slot>>,
    /// Plain layers that were compressed, now or once, and are there.
    compressed: Mutex<Vec<Noted>>,
}

type Slot = Arc<Mutex<Option<Descriptor>>>;

impl Push<'_> {
    fn content(&self, content: &Content, tags: &[String]) -> Result<Pushed> {
        match content {
            Content::Image(image) => self.image(image, tags),
            Content::Index(index) => self.index(index, tags),
        }
    }

    /// Each child by its digest, then the index under the tags.
    fn index(&self, index: &IndexBlobs, tags: &[String]) -> Result<Pushed> {
        let mut listed: Index = serde_json::from_slice(&index.bytes).map_err(PushError::Manifest)?;
        let size = index.bytes.len() as u64;
        let mut all =
            Pushed { digest: Digest::of(&index.bytes), size, blobs: 0, bytes: 0, left: 0, noted: Change::default() };
        let mut changed: HashMap<Digest, Pushed> = HashMap::new();
        // Attestations come after their image, no matter where the index lists them.
        let is_attestation = |at: &usize| listed.manifests.get(*at).is_some_and(|it| subject(it).is_some());
        let (attestations, images): (Vec<usize>, Vec<usize>) = (0..index.children.len()).partition(is_attestation);
        let mut left: HashSet<Digest> = HashSet::new();
        for at in images.into_iter().chain(attestations) {
            let child = &index.children[at];
            let digest = child.digest();
            if listed.manifests.get(at).and_then(subject).is_some_and(|subject| changed.contains_key(&subject)) {
                left.insert(digest);
                continue;
            }
            let one = self.content(child, &[])?;
            (all.blobs, all.bytes, all.left) = (all.blobs + one.blobs, all.bytes + one.bytes, all.left + one.left);
            if one.digest != digest {
                changed.insert(digest, one);
            }
        }
        all.left += left.len();
        if self.options.shared.as_ref().is_some_and(|shared| shared.sends_only_own()) {
            return Ok(all);
        }
        if changed.is_empty() {
            self.put(&index.media_type, &index.bytes, tags)?;
            return Ok(all);
        }
        listed.manifests.retain(|descriptor| !left.contains(&descriptor.digest));
        for descriptor in &mut listed.manifests {
            if let Some(new) = changed.get(&descriptor.digest) {
                (descriptor.digest, descriptor.size, descriptor.data) = (new.digest, new.size, None);
            }
        }
        let bytes = json::to_vec(&listed);
        (all.digest, all.size) = (Digest::of(&bytes), bytes.len() as u64);
        self.put(&index.media_type, &bytes, tags)?;
        Ok(all)
    }

    fn image(&self, image: &ImageBlobs, tags: &[String]) -> Result<Pushed> {
        let is_image = media_type::is_config(&image.config_media_type);
        let compression = if is_image { self.options.compression } else { Compression::None };
        self.progress.image(image);
        let job = |at: usize| {
            let watch = Watch { layer: at + 1, progress: Arc::clone(self.progress) };
            let (descriptor, fate) = self.layer(&image.layers[at], compression, &watch)?;
            self.progress.done(at + 1, &descriptor, fate);
            Ok((descriptor, fate))
        };
        if self.options.shared.as_ref().is_some_and(|shared| shared.sends_only_own()) {
            return self.own_layers(image, compression, &job);
        }
        let results = in_parallel(image.layers.len(), &job)?;
        let mut pushed =
            Pushed { digest: image.digest(), size: 0, blobs: 0, bytes: 0, left: 0, noted: Change::default() };
        for (_, fate) in &results {
            pushed.count(*fate);
        }
        let compressed =
            results.iter().zip(&image.layers).filter(|((blob, _), layer)| blob.digest != layer.descriptor.digest);
        lock(&self.compressed).extend(compressed.map(|((blob, _), layer)| (layer.diff_id, blob.clone())));
        let config = self.config(image)?;
        if let Fate::Sent(bytes) = config {
            self.progress.also_sent(bytes);
        }
        pushed.count(config);
        let same = results.iter().zip(&image.layers).all(|((descriptor, _), layer)| *descriptor == layer.descriptor);
        let manifest = if same {
            image.manifest.clone()
        } else {
            let layers = results.into_iter().map(|(descriptor, _)| descriptor).collect();
            image.manifest_with(layers).map_err(PushError::Manifest)?
        };
        (pushed.digest, pushed.size) = (Digest::of(&manifest), manifest.len() as u64);
        self.put(&image.media_type, &manifest, tags)?;
        Ok(pushed)
    }

    /// The layers that no other part of a fleet sends.
    fn own_layers(
        &self,
        image: &ImageBlobs,
        compression: Compression,
        job: &(dyn Fn(usize) -> Result<(Descriptor, Fate)> + Sync),
    ) -> Result<Pushed> {
        let is_own = |layer: &LayerBlob| {
            let (key, is_compressed) = homes::key(layer, compression);
            let home = self.options.shared.as_ref().and_then(|shared| shared.homes.of(self.client, key, is_compressed));
            home.is_none_or(|home| !home.is_foreign())
        };
        let own: Vec<usize> = (0..image.layers.len()).filter(|at| is_own(&image.layers[*at])).collect();
        let mut pushed = Pushed::nothing(image.digest(), image.manifest.len() as u64);
        for (_, fate) in in_parallel(own.len(), &|at| job(own[at]))? {
            pushed.count(fate);
        }
        Ok(pushed)
    }

    fn put(&self, media_type: &str, document: &[u8], tags: &[String]) -> Result<()> {
        let digest = Digest::of(document).to_string();
        let versions = if tags.is_empty() { std::slice::from_ref(&digest) } else { tags };
        for version in versions {
            self.client.put_manifest(version, media_type, document)?;
        }
        Ok(())
    }
}

impl Pushed {
    fn nothing(digest: Digest, size: u64) -> Self {
        Self { digest, size, blobs: 0, bytes: 0, left: 0, noted: Change::default() }
    }

    fn count(&mut self, fate: Fate) {
        if let Fate::Sent(bytes) = fate {
            self.blobs += 1;
            self.bytes += bytes;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `job` for 0, 1, … `count` - 1, several at once; results are in order. After an error nothing more is begun.
fn in_parallel<T: Send>(count: usize, job: &(dyn Fn(usize) -> Result<T> + Sync)) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<T>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = results.get(at) else { return };
            let result = job(at);
            if result.is_err() {
                next.store(count, Ordering::Relaxed);
            }
            *lock(slot) = Some(result);
        }
    };
    thread::scope(|scope| {
        // Those that the machine has no threads for are done by the others, and by this one.
        for _ in 1..CONNECTIONS.min(count) {
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let finished =
        results.into_iter().filter_map(|slot| slot.into_inner().unwrap_or_else(|poison| poison.into_inner()));
    finished.collect()
}
