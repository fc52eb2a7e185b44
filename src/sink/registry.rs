//! A push that sends what is missing, and makes nothing else.
//!
//! ```text
//! for each layer, several at once:
//!   which blob is it?   itself, where it is not to be compressed
//!                       else what its recipe says that it compresses to
//!                       else what the image that the tag names now made of it (its diff_id)
//!                       else what the local cache says it compressed to
//!   is the blob there?  HEAD: done
//!                       another repository of the registry has it: mount it
//!   else                make it, compress it, send it: one stream
//! config, then manifest under each tag
//! ```
//!
//! The manifest comes last, so a push that breaks leaves no tag that cannot be
//! pulled, and the same push again sends the rest.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    cache::Cache,
    destination::{Holds, Scheme, Sink, WriteError, WriteOptions, Written},
    progress::{Fate, Progress},
};
use crate::{
    blobs::{ImageBlobs, LayerBlob},
    content::{Content, IndexBlobs},
    image::ImageError,
    layer::{ChunkReader, compress::Compression},
    oci::{Descriptor, Digest, ImageConfig, Manifest, Sha256Writer, media_type},
    registry::{Client, ParseReferenceError, Reference, RegistryError, Upload},
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
        };
        let Pushed { digest, blobs, bytes, .. } = push_content(content, &client, &push_options, &options.progress)?;
        let event = serde_json::json!({ "event": "pushed", "reference": reference.to_string(), "digest": digest,
            "blobs": blobs, "bytes": bytes });
        let says = vec![format!("{reference}: {blobs} blobs sent, {bytes} bytes")];
        Ok(Written { says, event: Some(event), ..Written::new(digest) })
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
    /// Tags or digests of the repository whose layers may be the same.
    pub cache_from: Vec<String>,
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
    /// The manifest is none.
    #[error("parsing the manifest")]
    Manifest(#[source] serde_json::Error),
}

type Result<T> = std::result::Result<T, PushError>;

/// Pushes an image, or an index and all it lists, under each of the tags.
///
/// # Errors
///
/// Those of [`push`].
pub fn push_content(
    content: &Content,
    client: &Client,
    options: &Options,
    progress: &Arc<dyn Progress>,
) -> Result<Pushed> {
    match content {
        Content::Image(image) => push(image, client, options, progress),
        Content::Index(index) => push_index(index, client, options, progress),
    }
}

/// Each child by its digest, then the index under the tags.
fn push_index(index: &IndexBlobs, client: &Client, options: &Options, progress: &Arc<dyn Progress>) -> Result<Pushed> {
    let by_digest = Options { tags: Vec::new(), cache_from: options.tags.clone(), ..options.clone() };
    let digest = Digest::of(&index.bytes);
    let mut pushed = Pushed { digest, size: index.bytes.len() as u64, blobs: 0, bytes: 0 };
    for child in &index.children {
        let one = push_content(child, client, &by_digest, progress)?;
        (pushed.blobs, pushed.bytes) = (pushed.blobs + one.blobs, pushed.bytes + one.bytes);
    }
    let digest = digest.to_string();
    let versions = if options.tags.is_empty() { std::slice::from_ref(&digest) } else { options.tags.as_slice() };
    for version in versions {
        client.put_manifest(version, &index.media_type, &index.bytes)?;
    }
    Ok(pushed)
}

/// Pushes an image under each of the tags, or under its digest where there are none.
///
/// Plain layers are compressed, unless the image is to stay as it is.
///
/// # Errors
///
/// [`PushError`]; no tag was changed then, or all that were hold the whole image.
pub fn push(image: &ImageBlobs, client: &Client, options: &Options, progress: &Arc<dyn Progress>) -> Result<Pushed> {
    let compression = if image.as_is { Compression::None } else { options.compression };
    let known = if compression == Compression::None { HashMap::new() } else { known_blobs(client, options)? };
    let push = Push { client, options, compression, known, cache: Cache::of_user() };
    let job = |at: usize| {
        let watch = Watch { blob: at + 1, progress: Arc::clone(progress) };
        let (descriptor, fate) = push.layer(&image.layers[at], &watch)?;
        progress.done(at + 1, &descriptor, fate);
        Ok((descriptor, fate))
    };
    // A layer that is there twice is one blob, sent once.
    let mut place = HashMap::new();
    let is_first = |at: &usize| {
        let next = place.len();
        let digest = image.layers[*at].descriptor.digest;
        *place.entry(digest).or_insert(next) == next
    };
    let distinct: Vec<usize> = (0..image.layers.len()).filter(is_first).collect();
    let results = in_parallel(distinct.len(), &|at| job(distinct[at]))?;
    let mut pushed = Pushed { digest: image.digest(), size: 0, blobs: 0, bytes: 0 };
    for (_, fate) in &results {
        pushed.count(*fate);
    }
    pushed.count(push.config(image)?);
    let manifest = if image.as_is {
        image.manifest.clone()
    } else {
        let layers = image.layers.iter().map(|layer| results[place[&layer.descriptor.digest]].0.clone()).collect();
        image.manifest_with(layers).map_err(PushError::Manifest)?
    };
    (pushed.digest, pushed.size) = (Digest::of(&manifest), manifest.len() as u64);
    let digest = pushed.digest.to_string();
    let versions = if options.tags.is_empty() { std::slice::from_ref(&digest) } else { options.tags.as_slice() };
    for version in versions {
        client.put_manifest(version, &image.media_type, &manifest)?;
    }
    Ok(pushed)
}

impl Pushed {
    fn count(&mut self, fate: Fate) {
        if let Fate::Sent(bytes) = fate {
            self.blobs += 1;
            self.bytes += bytes;
        }
    }
}

/// Which blob stands for which uncompressed layer, as images of the repository say.
fn known_blobs(client: &Client, options: &Options) -> Result<HashMap<Digest, Descriptor>> {
    let mut known = HashMap::new();
    for version in options.tags.iter().chain(&options.cache_from) {
        let Some(document) = client.manifest(version)? else { continue };
        // An index, or something else that has no layers, tells nothing.
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&document.bytes) else { continue };
        let Some(text) = client.small_blob(&manifest.config.digest)? else { continue };
        let Ok(config) = serde_json::from_slice::<ImageConfig>(&text) else { continue };
        if config.rootfs.diff_ids.len() == manifest.layers.len() {
            known.extend(config.rootfs.diff_ids.into_iter().zip(manifest.layers));
        }
    }
    Ok(known)
}

/// A push on its way.
struct Push<'a> {
    client: &'a Client,
    options: &'a Options,
    compression: Compression,
    /// Which blob stands for which uncompressed layer.
    known: HashMap<Digest, Descriptor>,
    cache: Cache,
}

impl Push<'_> {
    fn layer(&self, layer: &LayerBlob, watch: &Watch) -> Result<(Descriptor, Fate)> {
        let (own, compression) = (&layer.descriptor, self.compression);
        if compression == Compression::None || own.media_type != media_type::LAYER_TAR {
            let fate = match self.there_or_mounted(&own.digest, layer.origin.as_ref())? {
                Some(fate) => fate,
                None => {
                    watch.progress.sending(watch.blob, own.size);
                    let mut make = || watch.reader(layer.read());
                    let digest = || Some(own.digest);
                    self.client.upload(Upload { make: &mut make, size: Some(own.size), digest: &digest })?;
                    Fate::Sent(own.size)
                }
            };
            return Ok((own.clone(), fate));
        }
        let compressed = |digest, size| Descriptor {
            annotations: own.annotations.clone(),
            ..Descriptor::new(compression.media_type(), digest, size)
        };
        let wanted = |descriptor: &&Descriptor| descriptor.media_type == compression.media_type();
        let level = self.options.level;
        let remembered = self.cache.get(&layer.diff_id, compression, level);
        // A level that somebody asks for is not to be had from an image that may have another.
        let noted = layer.compressed.get(compression.name()).filter(|_| level.is_none());
        let noted = noted.map(|noted| Descriptor::new(compression.media_type(), noted.digest, noted.size));
        let known = self.known.get(&layer.diff_id).filter(|_| level.is_none()).filter(wanted);
        for descriptor in noted.iter().chain(known).chain(&remembered) {
            if let Some(fate) = self.there_or_mounted(&descriptor.digest, None)? {
                return Ok((compressed(descriptor.digest, descriptor.size), fate));
            }
        }
        watch.progress.sending(watch.blob, own.size);
        let made = Made::default();
        let mut make = || stream(layer, compression, level, &made, watch);
        let digest = || read(&made).map(|(digest, _)| digest);
        self.client.upload(Upload { make: &mut make, size: None, digest: &digest })?;
        let (digest, size) = read(&made).expect("an upload without an error has sent all of the blob");
        let descriptor = Descriptor::new(compression.media_type(), digest, size);
        self.cache.put(&layer.diff_id, compression, level, &descriptor);
        Ok((compressed(digest, size), Fate::Sent(size)))
    }

    fn config(&self, image: &ImageBlobs) -> Result<Fate> {
        let digest = Digest::of(&image.config);
        if let Some(fate) = self.there_or_mounted(&digest, None)? {
            return Ok(fate);
        }
        self.client.upload_bytes(&digest, &image.config)?;
        Ok(Fate::Sent(image.config.len() as u64))
    }

    /// `origin` is the host and repository that the blob comes from.
    fn there_or_mounted(&self, digest: &Digest, origin: Option<&(String, String)>) -> Result<Option<Fate>> {
        if self.client.has_blob(digest)? {
            return Ok(Some(Fate::There));
        }
        let own = origin.filter(|(host, _)| host == self.client.host()).map(|(_, repository)| repository);
        for repository in own.into_iter().chain(&self.options.mount_from) {
            if self.client.mount(digest, repository)? {
                return Ok(Some(Fate::Mounted));
            }
        }
        Ok(None)
    }
}

/// Tells how much of one blob is sent.
#[derive(Clone)]
struct Watch {
    blob: usize,
    progress: Arc<dyn Progress>,
}

impl Watch {
    fn reader(&self, inner: impl Read + Send + 'static) -> Box<dyn Read + Send> {
        Box::new(Watched { inner, watch: self.clone() })
    }
}

/// Counts what flows through, in either direction.
struct Watched<T> {
    inner: T,
    watch: Watch,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.watch.progress.advance(self.watch.blob, read as u64);
        Ok(read)
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.watch.progress.advance(self.watch.blob, written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Digest and size of a blob, once all of it was made.
type Made = Arc<Mutex<Option<(Digest, u64)>>>;

fn read(made: &Made) -> Option<(Digest, u64)> {
    *made.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The layer's compressed blob, made while it is read.
fn stream(
    layer: &LayerBlob,
    compression: Compression,
    level: Option<i32>,
    made: &Made,
    watch: &Watch,
) -> Box<dyn Read + Send> {
    let (layer, made, watch) = (layer.clone(), Arc::clone(made), watch.clone());
    Box::new(ChunkReader::new(move |out| {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let inner = compression.writer(Sha256Writer::new(out), threads, level)?;
        let mut watched = Watched { inner, watch };
        layer.write(&mut watched).map_err(io::Error::other)?;
        let (_, digest, size) = watched.inner.finish()?.finish();
        *made.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((digest, size));
        Ok(())
    }))
}

/// Runs `job` for 0, 1, … `count` - 1, several at once; results are in order. After an error nothing more is begun.
fn in_parallel<T: Send>(count: usize, job: &(dyn Fn(usize) -> Result<T> + Sync)) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<T>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS.min(count) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(slot) = results.get(at) else { return };
                    let result = job(at);
                    if result.is_err() {
                        next.store(count, Ordering::Relaxed);
                    }
                    *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
                }
            });
        }
    });
    let finished =
        results.into_iter().filter_map(|slot| slot.into_inner().unwrap_or_else(|poison| poison.into_inner()));
    finished.collect()
}
