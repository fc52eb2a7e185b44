//! What a push of one image sends to where another one is.
//!
//! A registry knows blobs, not contents: one that has a layer as zstd has nothing of the same layer as gzip. So the
//! blobs that a push would send are compared with those of the first image, and made where that is the only way to
//! know them:
//!
//! ```text
//! a layer of the second image                     the blob that a push sends
//! compressed, or of an image that stays as it is  itself
//! plain, and the first image has it compressed    that of the first image, which a push finds under its tag
//! plain                                           compressed here
//! ```
//!
//! A first image that is not in a registry counts as pushed with the same options.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    io, thread,
};

use serde::Serialize;

use crate::{
    image::{Image, ImageError, LayerBlob},
    layer::compress::Compression,
    oci::{Digest, Sha256Writer, descriptor::media_type},
};

/// How layers are sent, and where to.
#[derive(Clone, Debug)]
pub struct PushEstimateOptions {
    /// How plain layers are compressed.
    pub compression: Compression,
    /// How hard; `None` is the format's own.
    pub level: Option<i32>,
    /// The registry that has the first image, where it is known: it mounts layers that it has in other repositories.
    pub host: Option<String>,
}

/// A push.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PushEstimate {
    /// Blobs to send, the config among them.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them are layers that the first image has too, in other blobs: plain, or compressed otherwise.
    pub repacked: usize,
    /// Numbers of layers, counted from 1, whose bytes are not on this machine: their blobs count with their plain
    /// size, so that `bytes` is an estimate, never less than what is sent.
    pub estimated: Vec<usize>,
}

impl PushEstimate {
    /// What pushing `new` sends where `old` is.
    ///
    /// # Errors
    ///
    /// When a layer's bytes are not what the image says of them.
    pub fn of(old: &Image, new: &Image, options: &PushEstimateOptions) -> Result<Self, ImageError> {
        let mut there = Registry::with(old, options);
        let mut push = Self { blobs: 0, bytes: 0, repacked: 0, estimated: Vec::new() };
        for (at, layer) in new.layers.iter().enumerate() {
            let blob = if options.is_compressed(new, layer) {
                there.compressed(layer, options)?
            } else {
                there.as_it_is(layer, options)?
            };
            let bytes = match blob {
                Blob::There => continue,
                Blob::Missing(bytes) => bytes,
                Blob::Unknown => {
                    push.estimated.push(at + 1);
                    layer.descriptor.size
                }
            };
            push.blobs += 1;
            push.bytes += bytes;
            push.repacked += usize::from(old.layers.iter().any(|old| old.diff_id == layer.diff_id));
        }
        if there.blobs.insert(Digest::of(&new.config)) {
            push.blobs += 1;
            push.bytes += new.config.len() as u64;
        }
        Ok(push)
    }
}

impl PushEstimateOptions {
    /// Whether a push compresses a layer of `image`.
    fn is_compressed(&self, image: &Image, layer: &LayerBlob) -> bool {
        media_type::is_config(&image.config_media_type)
            && self.compression != Compression::None
            && layer.descriptor.media_type == media_type::LAYER_TAR
    }

    /// Digest and size of a layer's compressed blob; `None` where its bytes are not on this machine.
    fn compress(&self, layer: &LayerBlob) -> Result<Option<(Digest, u64)>, ImageError> {
        // A recipe may say what its layers compress to.
        if let Some(noted) = layer.compressed.get(self.compression.name()).filter(|_| self.level.is_none()) {
            return Ok(Some((noted.digest, noted.size)));
        }
        let digest = layer.descriptor.digest;
        let fail = |source| ImageError::Blob { digest, source };
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
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

/// What becomes of a layer.
enum Blob {
    There,
    Missing(u64),
    /// Its bytes would have to be on this machine to know.
    Unknown,
}

/// What a registry has that has the first image.
struct Registry<'a> {
    blobs: HashSet<Digest>,
    /// Layers whose blobs would have to be made to know their digests.
    unmade: HashMap<Digest, &'a LayerBlob>,
    /// Layers whose own blobs a push finds under the tag, by diff_id.
    found: HashMap<Digest, &'a LayerBlob>,
    /// Contents sent on the way, by diff_id.
    sent: HashSet<Digest>,
}

impl<'a> Registry<'a> {
    fn with(old: &'a Image, options: &PushEstimateOptions) -> Self {
        let mut registry = Self {
            blobs: HashSet::from([Digest::of(&old.config)]),
            unmade: HashMap::new(),
            found: HashMap::new(),
            sent: HashSet::new(),
        };
        for layer in &old.layers {
            if options.is_compressed(old, layer) {
                registry.unmade.insert(layer.diff_id, layer);
            } else {
                registry.blobs.insert(layer.descriptor.digest);
                registry.found.insert(layer.diff_id, layer);
            }
        }
        registry
    }

    fn as_it_is(&mut self, layer: &LayerBlob, options: &PushEstimateOptions) -> Result<Blob, ImageError> {
        let own = &layer.descriptor;
        let origin = layer.origin.as_ref().map(|(host, _)| host);
        if self.blobs.contains(&own.digest) || (origin.is_some() && origin == options.host.as_ref()) {
            return Ok(Blob::There);
        }
        // The same bytes, compressed by the push of the first image, may have become the same blob.
        if own.media_type != media_type::LAYER_TAR
            && let Some(old) = self.unmade.remove(&layer.diff_id)
        {
            match options.compress(old)? {
                Some((digest, _)) => drop(self.blobs.insert(digest)),
                None => return Ok(Blob::Unknown),
            }
        }
        Ok(if self.blobs.insert(own.digest) { Blob::Missing(own.size) } else { Blob::There })
    }

    fn compressed(&mut self, layer: &LayerBlob, options: &PushEstimateOptions) -> Result<Blob, ImageError> {
        // An image compressed at another level does not do where a level was asked for.
        let found = self.found.get(&layer.diff_id).filter(|_| options.level.is_none());
        if found.is_some_and(|found| options.compression.fits(&found.descriptor))
            || self.unmade.contains_key(&layer.diff_id)
            || !self.sent.insert(layer.diff_id)
        {
            return Ok(Blob::There);
        }
        Ok(match options.compress(layer)? {
            None => Blob::Unknown,
            Some((digest, size)) if self.blobs.insert(digest) => Blob::Missing(size),
            Some(_) => Blob::There,
        })
    }
}

/// Whether a file that a layer is made from is not there: a recipe's store paths need not be on every machine.
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
