//! The steps of a push: the layers and the config of each image, its manifest, then the indexes above it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    PushError, PushOptions, PushResult, Result, in_parallel, known::KnownMappings, known_layers::KnownLayer,
    watch::LayerProgress,
};
use crate::{
    image::{
        Image, ImageIndex, LayerBlob, ManifestGraph,
        graph::{rewritten, subject},
    },
    layer::compress::Compression,
    oci::{
        Descriptor, Digest, Index,
        descriptor::{annotation, media_type},
    },
    threads::lock,
    transport::{
        compression_cache::CompressionCache,
        progress::{Evidence, Fate, Progress},
        registry::{Client, shared},
    },
};

/// A running push.
pub(super) struct Push<'a> {
    pub client: &'a Arc<Client>,
    pub options: &'a PushOptions,
    pub known: KnownMappings<'a>,
    pub cache: CompressionCache,
    progress: &'a Arc<dyn Progress>,
    /// The existing blobs, by digest and whether they are compressed by the push. The holder of a slot sends the blob.
    pub slots: Mutex<HashMap<(Digest, bool), Slot>>,
    /// Uncompressed layers whose compressed blobs exist in the registry.
    compressed: Mutex<Vec<KnownLayer>>,
    warnings: Mutex<Vec<String>>,
}

type Slot = Arc<Mutex<Option<(Descriptor, Option<Evidence>)>>>;

/// A layer of an image in the registry.
#[derive(Clone, Debug)]
pub(super) struct PushedLayer {
    pub blob: Descriptor,
    pub fate: Fate,
    /// Set for layers that are compressed by the push.
    pub evidence: Option<Evidence>,
}

impl<'a> Push<'a> {
    pub fn new(
        client: &'a Arc<Client>,
        options: &'a PushOptions,
        known: KnownMappings<'a>,
        progress: &'a Arc<dyn Progress>,
    ) -> Self {
        Self {
            client,
            options,
            known,
            cache: CompressionCache::open(),
            progress,
            slots: Mutex::default(),
            compressed: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    /// Keeps a message for the end of the push.
    pub fn warn(&self, message: String) {
        lock(&self.warnings).push(message);
    }

    /// Returns the messages in a stable order, since layers are pushed in parallel.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = lock(&self.warnings).clone();
        warnings.extend(self.known.warnings());
        warnings.sort();
        warnings.dedup();
        warnings
    }

    /// Returns the layers for the document of known layers.
    pub fn layers_to_record(&self) -> MutexGuard<'_, Vec<KnownLayer>> {
        lock(&self.compressed)
    }

    /// Pushes an image or an index under the tags, or without tags under its digest.
    pub fn content(&self, content: &ManifestGraph, tags: &[String]) -> Result<PushResult> {
        match content {
            ManifestGraph::Image(image) => self.image(image, self.options.compression, tags),
            ManifestGraph::Index(index) => self.index(index, tags),
        }
    }

    /// Pushes each child by its digest, then the index.
    fn index(&self, index: &ImageIndex, tags: &[String]) -> Result<PushResult> {
        let listed: Index = serde_json::from_slice(&index.bytes).map_err(PushError::Manifest)?;
        let mut all = PushResult::nothing(index.algorithm.digest(&index.bytes), &index.bytes);
        let mut changed: HashMap<Digest, (Digest, u64)> = HashMap::new();
        for at in images_first(&listed, index.children.len()) {
            let child = &index.children[at];
            let digest = child.digest();
            if listed.manifests.get(at).and_then(subject).is_some_and(|subject| changed.contains_key(&subject)) {
                all.attestations_left += 1;
                continue;
            }
            let one = match child {
                // No layer is compressed, and --lazy has no warnings, because the manifest is for other clients.
                ManifestGraph::Image(image) if is_zstd(listed.manifests.get(at), image) => {
                    self.image(image, Compression::None, &[])?
                }
                child => self.content(child, &[])?,
            };
            (all.blobs, all.bytes, all.attestations_left) =
                (all.blobs + one.blobs, all.bytes + one.bytes, all.attestations_left + one.attestations_left);
            all.evidence = all.evidence.plus(one.evidence);
            all.verified.extend(one.verified);
            all.unverified.extend(one.unverified);
            if one.digest != digest {
                changed.insert(digest, (one.digest, one.size));
            }
        }
        if self.sends_only_own() {
            return Ok(all);
        }
        let rewritten = (!changed.is_empty()).then(|| rewritten(listed, &changed));
        let bytes = rewritten.as_deref().unwrap_or(&index.bytes);
        let digest = index.algorithm.digest(bytes);
        self.put(&index.media_type, &digest, bytes, tags)?;
        Ok(PushResult { digest, size: bytes.len() as u64, ..all })
    }

    /// Pushes the layers and the config, then the manifest.
    fn image(&self, image: &Image, compression: Compression, tags: &[String]) -> Result<PushResult> {
        let is_image = media_type::is_config(&image.config_media_type);
        let compression = if is_image { compression } else { Compression::None };
        self.progress.image(image);
        let layer = |at: usize| self.watched(image, at, compression);
        if self.sends_only_own() {
            return self.unshared_layers(image, compression, &layer);
        }
        let layers = in_parallel(image.layers.len(), &layer)?;
        self.record_compressed(image, &layers);
        let config = self.config(image)?;
        if let Fate::Sent(bytes) = config {
            self.progress.also_sent(bytes);
        }
        let manifest = manifest(image, &layers)?;
        let digest = image.manifest_algorithm.digest(&manifest);
        self.put(&image.media_type, &digest, &manifest, tags)?;
        let mut pushed = PushResult::nothing(digest, &manifest);
        layers.iter().for_each(|layer| pushed.count_layer(layer));
        pushed.count(config);
        Ok(pushed)
    }

    /// Pushes one layer and reports its progress.
    fn watched(&self, image: &Image, at: usize, compression: Compression) -> Result<PushedLayer> {
        let watch = LayerProgress { layer: at + 1, progress: Arc::clone(self.progress) };
        let pushed = self.layer(&image.layers[at], compression, &watch)?;
        pushed.evidence.iter().for_each(|evidence| self.progress.evidence(at + 1, *evidence));
        self.progress.done(at + 1, &pushed.blob, pushed.fate);
        Ok(pushed)
    }

    /// Records which blobs uncompressed layers became. A document that is signed lists no claims of recipes.
    fn record_compressed(&self, image: &Image, layers: &[PushedLayer]) {
        let is_signed = self.options.sign.is_some();
        let compressed = layers.iter().zip(&image.layers).filter(|(pushed, layer)| {
            pushed.blob.digest != layer.descriptor.digest
                && (!is_signed || pushed.evidence.is_some_and(Evidence::is_own))
        });
        self.layers_to_record().extend(compressed.map(|(pushed, layer)| (layer.diff_id, pushed.blob.clone())));
    }

    /// Whether layers of other parts of a fleet are not sent for now.
    fn sends_only_own(&self) -> bool {
        self.options.shared.as_ref().is_some_and(|shared| shared.sends_only_own())
    }

    /// Returns the layers that no other part of a fleet sends.
    fn unshared_layers(
        &self,
        image: &Image,
        compression: Compression,
        job: &(dyn Fn(usize) -> Result<PushedLayer> + Sync),
    ) -> Result<PushResult> {
        let is_own = |layer: &LayerBlob| {
            let (key, is_compressed) = shared::key(layer, compression);
            let home =
                self.options.shared.as_ref().and_then(|shared| shared.homes.home_of(self.client, key, is_compressed));
            home.is_none_or(|home| !home.is_foreign())
        };
        let unshared: Vec<usize> = (0..image.layers.len()).filter(|at| is_own(&image.layers[*at])).collect();
        let mut pushed = PushResult::nothing(image.digest(), &image.manifest);
        in_parallel(unshared.len(), &|at| job(unshared[at]))?.iter().for_each(|layer| pushed.count_layer(layer));
        Ok(pushed)
    }

    fn put(&self, media_type: &str, digest: &Digest, document: &[u8], tags: &[String]) -> Result<()> {
        let digest = digest.to_string();
        let versions = if tags.is_empty() { std::slice::from_ref(&digest) } else { tags };
        for version in versions {
            self.client.put_manifest(version, media_type, document)?;
        }
        Ok(())
    }
}

/// Returns the order of an index's children: attestations follow their image, independent of the order in the index.
fn images_first(listed: &Index, count: usize) -> Vec<usize> {
    let is_attestation = |at: &usize| listed.manifests.get(*at).is_some_and(|descriptor| subject(descriptor).is_some());
    let (attestations, images): (Vec<usize>, Vec<usize>) = (0..count).partition(is_attestation);
    [images, attestations].concat()
}

/// Whether the index marks an image as one of zstd layers, and it has no uncompressed ones.
fn is_zstd(listed: Option<&Descriptor>, image: &Image) -> bool {
    let is_compressed = |layer: &LayerBlob| media_type::as_oci(&layer.descriptor.media_type) != media_type::LAYER_TAR;
    listed.is_some_and(|listed| listed.annotations.contains_key(annotation::ZSTD))
        && image.layers.iter().all(is_compressed)
}

/// Returns the manifest of the layers in the registry. It is the original, byte for byte, if no layer was compressed.
fn manifest(image: &Image, layers: &[PushedLayer]) -> Result<Vec<u8>> {
    if layers.iter().zip(&image.layers).all(|(pushed, layer)| pushed.blob == layer.descriptor) {
        return Ok(image.manifest.clone());
    }
    let layers = layers.iter().map(|pushed| pushed.blob.clone()).collect();
    image.manifest_with(layers).map_err(PushError::Manifest)
}
