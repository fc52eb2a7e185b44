//! Estimates the blobs that a push of an image sends to a registry that has another image.
//!
//! A registry compares blobs, not their uncompressed content. A registry that has a layer as zstd cannot use it for the
//! same layer as gzip. So the blobs that the push would send are compared with the blobs of the first image. If the digest
//! of a blob is unknown, the layer is compressed here, unless the estimate is rough:
//!
//! ```text
//! layer of the second image                         blob that the push sends
//! compressed, or the image is pushed unchanged      the blob of the layer
//! uncompressed, and the first image has it          the blob of the first image, which the push finds by its tag
//!   compressed
//! uncompressed                                      the blob compressed here
//! ```
//!
//! A first image that is not in a registry is treated as if pushed with the same options.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    io,
};

use serde::Serialize;

use crate::{
    image::{Image, ImageError, LayerBlob},
    layer::compress::Compression,
    oci::{Digest, Sha256Writer, descriptor::media_type},
    threads,
};

/// The options of a push that affect its blobs.
#[derive(Clone, Debug)]
pub struct PushEstimateOptions {
    /// The compression of uncompressed layers.
    pub compression: Compression,
    /// The compression level; `None` is the default of the format.
    pub level: Option<i32>,
    /// The registry that has the first image, if it is known. It mounts layers that exist in its other repositories.
    pub host: Option<String>,
    /// Whether layers are not compressed here. Those whose compressed blobs are unknown count with their uncompressed size.
    pub is_rough: bool,
}

/// The estimated cost of a push.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PushEstimate {
    /// The number of blobs to send, including the config.
    pub blobs: usize,
    /// The size of these blobs in bytes.
    pub bytes: u64,
    /// The number of layers among them that the first image has as another blob: uncompressed, or compressed differently.
    pub repacked: usize,
    /// The numbers of layers, counted from 1, that were not compressed here, because their bytes are not on this machine or
    /// the estimate is rough. They count with their uncompressed size, so `bytes` is usually more than the push sends.
    pub estimated: Vec<usize>,
}

impl PushEstimate {
    /// Estimates a push of `new` to a registry that has `old`.
    ///
    /// # Errors
    ///
    /// If the bytes of a layer do not match its descriptor.
    pub fn new(old: &Image, new: &Image, options: &PushEstimateOptions) -> Result<Self, ImageError> {
        let mut registry = KnownRegistry::with_image(old, options);
        let mut push = Self { blobs: 0, bytes: 0, repacked: 0, estimated: Vec::new() };
        for (at, layer) in new.layers.iter().enumerate() {
            let blob = if options.is_compressed(new, layer) {
                registry.push_compressed(layer, options)?
            } else {
                registry.push_unchanged(layer, options)?
            };
            let bytes = match blob {
                BlobPresence::Existing => continue,
                BlobPresence::Missing(bytes) => bytes,
                BlobPresence::Unknown => {
                    push.estimated.push(at + 1);
                    layer.descriptor.size
                }
            };
            push.blobs += 1;
            push.bytes += bytes;
            push.repacked += usize::from(old.layers.iter().any(|old| old.diff_id == layer.diff_id));
        }
        if registry.blobs.insert(Digest::sha256(&new.config)) {
            push.blobs += 1;
            push.bytes += new.config.len() as u64;
        }
        Ok(push)
    }
}

impl PushEstimateOptions {
    /// Returns whether a push compresses a layer of `image`.
    fn is_compressed(&self, image: &Image, layer: &LayerBlob) -> bool {
        media_type::is_config(&image.config_media_type)
            && self.compression != Compression::None
            && media_type::is_compressed_by_push(&layer.descriptor.media_type)
    }

    /// Returns the digest and the size of the compressed blob of a layer, or `None` if it is not compressed here.
    fn compress(&self, layer: &LayerBlob) -> Result<Option<(Digest, u64)>, ImageError> {
        // A recipe may record the compressed blobs of its layers.
        if let Some(recorded) = layer.compressed_as(self.compression).filter(|_| self.level.is_none()) {
            return Ok(Some((recorded.digest, recorded.size)));
        }
        if self.is_rough {
            return Ok(None);
        }
        let digest = layer.descriptor.digest;
        let fail = |source| ImageError::Blob { digest, source };
        let threads = threads::jobs();
        let out = Sha256Writer::new(io::sink());
        let mut compressor = self.compression.writer(out, threads, self.level).map_err(fail)?;
        match layer.write(&mut compressor) {
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => {
                let (_, digest, size) = compressor.finish().map_err(fail)?.0.finish();
                Ok(Some((digest, size)))
            }
        }
    }
}

/// Whether the registry has the blob of a layer.
enum BlobPresence {
    Existing,
    /// The size of the missing blob in bytes.
    Missing(u64),
    /// The layer is not compressed here, so the digest of its blob is unknown.
    Unknown,
}

/// A registry that has the first image.
struct KnownRegistry<'a> {
    blobs: HashSet<Digest>,
    /// Layers whose compressed blobs are in the registry, with unknown digests, by diff_id.
    compressed: HashMap<Digest, &'a LayerBlob>,
    /// Layers whose blobs are in the registry unchanged, by diff_id.
    unchanged: HashMap<Digest, &'a LayerBlob>,
    /// The diff_ids of layers that this push already sent.
    sent: HashSet<Digest>,
}

impl<'a> KnownRegistry<'a> {
    fn with_image(old: &'a Image, options: &PushEstimateOptions) -> Self {
        let mut registry = Self {
            blobs: HashSet::from([Digest::sha256(&old.config)]),
            compressed: HashMap::new(),
            unchanged: HashMap::new(),
            sent: HashSet::new(),
        };
        for layer in &old.layers {
            if options.is_compressed(old, layer) {
                registry.compressed.insert(layer.diff_id, layer);
            } else {
                registry.blobs.insert(layer.descriptor.digest);
                registry.unchanged.insert(layer.diff_id, layer);
            }
        }
        registry
    }

    fn push_unchanged(&mut self, layer: &LayerBlob, options: &PushEstimateOptions) -> Result<BlobPresence, ImageError> {
        let descriptor = &layer.descriptor;
        let origin = layer.origin.as_ref().map(|(host, _)| host);
        if self.blobs.contains(&descriptor.digest) || (origin.is_some() && origin == options.host.as_ref()) {
            return Ok(BlobPresence::Existing);
        }
        // The push of the first image may have compressed the same content to the same blob.
        if descriptor.media_type != media_type::LAYER_TAR
            && let Some(old) = self.compressed.remove(&layer.diff_id)
        {
            match options.compress(old)? {
                Some((digest, _)) => drop(self.blobs.insert(digest)),
                None => return Ok(BlobPresence::Unknown),
            }
        }
        Ok(if self.blobs.insert(descriptor.digest) {
            BlobPresence::Missing(descriptor.size)
        } else {
            BlobPresence::Existing
        })
    }

    fn push_compressed(
        &mut self,
        layer: &LayerBlob,
        options: &PushEstimateOptions,
    ) -> Result<BlobPresence, ImageError> {
        // If a level is set, an existing blob is not used, because its level is unknown.
        let existing = self.unchanged.get(&layer.diff_id).filter(|_| options.level.is_none());
        if existing.is_some_and(|existing| options.compression.fits(&existing.descriptor))
            || self.compressed.contains_key(&layer.diff_id)
            || !self.sent.insert(layer.diff_id)
        {
            return Ok(BlobPresence::Existing);
        }
        Ok(match options.compress(layer)? {
            None => BlobPresence::Unknown,
            Some((digest, size)) if self.blobs.insert(digest) => BlobPresence::Missing(size),
            Some(_) => BlobPresence::Existing,
        })
    }
}

/// Returns whether the cause of an error is a missing file. The store paths of a recipe need not be on this machine.
fn is_not_found(error: &ImageError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return true;
        }
        cause = error.source();
    }
    false
}
