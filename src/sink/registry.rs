//! A push that sends what is missing, and makes nothing else.
//!
//! ```text
//! for each layer, several at once:
//!   which blob is it?   itself, where it is not to be compressed
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
    io::{self, Read},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::cache::Cache;
use crate::{
    image::{Image, ImageError, Layer},
    layer::{ChunkReader, compress::Compression},
    oci::{Descriptor, Digest, ImageConfig, Manifest, Sha256Writer, json, media_type},
    registry::{Body, Client, RegistryError},
};

/// Layers on their way at once.
const CONNECTIONS: usize = 4;

/// How to push.
#[derive(Clone, Debug)]
pub struct Options {
    /// Under which tags.
    pub tags: Vec<String>,
    /// How layers that are not compressed yet are compressed.
    pub compression: Compression,
    /// Other repositories of the same registry to take blobs from.
    pub mount_from: Vec<String>,
    /// Tags or digests of the repository whose layers may be the same.
    pub cache_from: Vec<String>,
}

/// What became of one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The registry had it.
    There,
    /// It was taken over from another repository.
    Mounted,
    /// It was sent, this many bytes.
    Sent(u64),
}

/// What a push did.
#[derive(Clone, Copy, Debug)]
pub struct Pushed {
    /// The manifest's digest.
    pub digest: Digest,
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
    /// A blob of the source is missing.
    #[error("opening the blob {digest}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// What the system answered.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, PushError>;

/// Pushes an image made from a recipe. `report` is told of each layer (counted from 1), in whichever order they end.
///
/// # Errors
///
/// [`PushError`]; no tag was changed then, or all that were hold the whole image.
pub fn push(
    image: &Image,
    client: &Client,
    options: &Options,
    report: &(dyn Fn(usize, &Descriptor, Fate) + Sync),
) -> Result<Pushed> {
    let known = known_blobs(client, options)?;
    let cache = Cache::of_user();
    let job = |at: usize| {
        let (descriptor, fate) = push_layer(&image.layers[at], at + 1, client, options, &known, &cache)?;
        report(at + 1, &descriptor, fate);
        Ok((descriptor, fate))
    };
    let results = in_parallel(image.layers.len(), &job)?;
    let mut pushed = Pushed { digest: Digest::of(b""), blobs: 0, bytes: 0 };
    for (_, fate) in &results {
        pushed.count(*fate);
    }
    let config = image.config_blob();
    let config_descriptor = Descriptor::new(media_type::CONFIG, Digest::of(&config), config.len() as u64);
    pushed.count(push_bytes(client, &config)?);
    let layers = results.into_iter().map(|(descriptor, _)| descriptor).collect();
    let manifest = json::to_vec(&Manifest::new(config_descriptor, layers));
    for tag in &options.tags {
        client.put_manifest(tag, media_type::MANIFEST, &manifest)?;
    }
    pushed.digest = Digest::of(&manifest);
    Ok(pushed)
}

/// Pushes one image of a layout, as it is, under each of `tags`, or under its digest where there are none.
///
/// # Errors
///
/// As [`push`].
pub fn push_as_is(
    layout: &Path,
    manifest: &[u8],
    blobs: &[Descriptor],
    client: &Client,
    options: &Options,
    report: &(dyn Fn(usize, &Descriptor, Fate) + Sync),
) -> Result<Pushed> {
    let job = |at: usize| {
        let descriptor = &blobs[at];
        let path = layout.join(descriptor.digest.blob_name());
        let fate = match there_or_mounted(client, options, &descriptor.digest)? {
            Some(fate) => fate,
            None => {
                let open = || std::fs::File::open(&path);
                open().map_err(|source| PushError::Blob { digest: descriptor.digest, source })?;
                let mut make = || match open() {
                    Ok(file) => Box::new(file) as Box<dyn Read + Send>,
                    // Gone between two tries: the size no longer fits, and the registry says so.
                    Err(_) => Box::new(io::empty()),
                };
                client.upload(&descriptor.digest, Body::Stream(&mut make, Some(descriptor.size)))?;
                Fate::Sent(descriptor.size)
            }
        };
        report(at + 1, descriptor, fate);
        Ok(fate)
    };
    let mut pushed = Pushed { digest: Digest::of(manifest), blobs: 0, bytes: 0 };
    for fate in in_parallel(blobs.len(), &job)? {
        pushed.count(fate);
    }
    if options.tags.is_empty() {
        client.put_manifest(&pushed.digest.to_string(), media_type::MANIFEST, manifest)?;
    }
    for tag in &options.tags {
        client.put_manifest(tag, media_type::MANIFEST, manifest)?;
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

    /// Both pushes together, under the digest of the second.
    pub fn and(self, other: Self) -> Self {
        Self { digest: other.digest, blobs: self.blobs + other.blobs, bytes: self.bytes + other.bytes }
    }
}

/// Which blob stands for which uncompressed layer, as images of the repository say.
fn known_blobs(client: &Client, options: &Options) -> Result<HashMap<Digest, Descriptor>> {
    let mut known = HashMap::new();
    if options.compression == Compression::None {
        return Ok(known);
    }
    for version in options.tags.iter().chain(&options.cache_from) {
        let Some(text) = client.manifest(version)? else { continue };
        // An index, or something else that has no layers, tells nothing.
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&text) else { continue };
        let Some(text) = client.small_blob(&manifest.config.digest)? else { continue };
        let Ok(config) = serde_json::from_slice::<ImageConfig>(&text) else { continue };
        if config.rootfs.diff_ids.len() == manifest.layers.len() {
            known.extend(config.rootfs.diff_ids.into_iter().zip(manifest.layers));
        }
    }
    Ok(known)
}

fn push_layer(
    layer: &Layer,
    index: usize,
    client: &Client,
    options: &Options,
    known: &HashMap<Digest, Descriptor>,
    cache: &Cache,
) -> Result<(Descriptor, Fate)> {
    let compression = match layer.media_type.as_str() {
        media_type::LAYER_TAR => options.compression,
        _ => Compression::None,
    };
    if compression == Compression::None {
        let descriptor = Descriptor::new(&layer.media_type, layer.digest, layer.size);
        let fate = match there_or_mounted(client, options, &layer.digest)? {
            Some(fate) => fate,
            None => {
                let mut make = || stream(layer, index, Compression::None, &Arc::default());
                client.upload(&layer.digest, Body::Stream(&mut make, Some(layer.size)))?;
                Fate::Sent(layer.size)
            }
        };
        return Ok((descriptor, fate));
    }
    let wanted = |descriptor: &&Descriptor| descriptor.media_type == compression.media_type();
    let remembered = cache.get(&layer.diff_id, compression);
    for descriptor in known.get(&layer.diff_id).filter(wanted).into_iter().chain(&remembered) {
        if let Some(fate) = there_or_mounted(client, options, &descriptor.digest)? {
            let descriptor = Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size);
            return Ok((descriptor, fate));
        }
    }
    let made = Made::default();
    let mut make = || stream(layer, index, compression, &made);
    let digest = || read(&made).map(|(digest, _)| digest);
    client.upload_stream(Body::Stream(&mut make, None), &digest)?;
    let (digest, size) = read(&made).expect("an upload without an error has sent all of the blob");
    let descriptor = Descriptor::new(compression.media_type(), digest, size);
    cache.put(&layer.diff_id, compression, &descriptor);
    Ok((descriptor, Fate::Sent(size)))
}

/// Digest and size of a blob, once all of it was made.
type Made = Arc<Mutex<Option<(Digest, u64)>>>;

fn read(made: &Made) -> Option<(Digest, u64)> {
    *made.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The layer's blob, made while it is read.
fn stream(layer: &Layer, index: usize, compression: Compression, made: &Made) -> Box<dyn Read + Send> {
    let (layer, made) = (layer.clone(), Arc::clone(made));
    Box::new(ChunkReader::new(move |out| {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut compressor = compression.writer(Sha256Writer::new(out), threads)?;
        layer.write(index, &mut compressor).map_err(io::Error::other)?;
        let (_, digest, size) = compressor.finish()?.finish();
        *made.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((digest, size));
        Ok(())
    }))
}

fn push_bytes(client: &Client, bytes: &[u8]) -> Result<Fate> {
    let digest = Digest::of(bytes);
    if client.has_blob(&digest)? {
        return Ok(Fate::There);
    }
    client.upload(&digest, Body::Bytes(bytes))?;
    Ok(Fate::Sent(bytes.len() as u64))
}

fn there_or_mounted(client: &Client, options: &Options, digest: &Digest) -> Result<Option<Fate>> {
    if client.has_blob(digest)? {
        return Ok(Some(Fate::There));
    }
    for repository in &options.mount_from {
        if client.mount(digest, repository)? {
            return Ok(Some(Fate::Mounted));
        }
    }
    Ok(None)
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
