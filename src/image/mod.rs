//! An image as its blobs: what every source gives, and every sink takes.
//!
//! Manifest and config are bytes, so that an image that is only moved keeps its
//! digest; layers are written on demand, and checked while they are.

mod blob_file;
mod checked;
mod chunked;
mod error;
mod found;
pub(crate) mod graph;
mod layer;
mod layer_contents;
mod lock;
pub(crate) mod node;
mod open_error;
mod opened;
pub(crate) mod recipe;
pub(crate) mod rehash;
pub(crate) mod store;
mod store_paths;
pub(crate) mod top;

pub use blob_file::BlobFile;
pub use error::ImageError;
pub use found::{Choice, Found, FoundReferrers, Wanted};
pub use graph::{ImageIndex, ManifestGraph};
pub use lock::Lock;
pub use node::Node;
pub use open_error::OpenError;
pub use opened::Opened;
pub use recipe::{Recipe, RecipeIndex};
pub use store::Store;

use std::{collections::HashSet, sync::Arc};

pub use checked::BlobReader;
pub use chunked::Chunked;
pub use layer::LayerBlob;
pub use layer_contents::LayerContents;
pub use store_paths::HISTORY_PREFIX;

use crate::{
    closure::{Graph, StorePath},
    oci::{Algorithm, Descriptor, Digest, ImageConfig, Manifest, Platform, Timestamp, descriptor::media_type, json},
};

/// Docker loads no image with more layers than this into its own store: "max depth exceeded" (moby, `maxLayerDepth` in
/// layer/layer_store.go).
pub const DOCKER_LAYERS_LIMIT: usize = 125;

/// One image of one platform, ready to be moved.
///
/// [Example](crate#image).
#[derive(Clone, Debug)]
pub struct Image {
    /// `name:tag`, where it has a name.
    pub reference: Option<String>,
    /// The machine it is for.
    pub platform: Platform,
    /// The manifest's media type.
    pub media_type: String,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The hash algorithm with which referrers of the manifest name it.
    pub manifest_algorithm: Algorithm,
    /// The config's media type.
    pub config_media_type: String,
    /// The config.
    pub config: Vec<u8>,
    /// How the manifest hashes it.
    pub config_algorithm: Algorithm,
    /// The registry's host and the repository that have the config, where it was read from one.
    pub config_origin: Option<(String, String)>,
    /// The layers, base first.
    pub layers: Vec<LayerBlob>,
    /// The store paths of its layers and their references, where that is known.
    pub closure: Option<Arc<Graph>>,
    /// Whether the manifest must stay as it is: its digest is what people know the image by.
    pub as_is: bool,
}

impl Image {
    /// The blobs of a recipe.
    pub fn of(image: &Recipe) -> Self {
        let manifest = image.manifest();
        let layer = |(at, layer): (usize, &recipe::RecipeLayer)| {
            let made = Arc::new(layer.clone());
            let in_parts = Arc::clone(&made);
            let materials = image.materials();
            let mut blob = LayerBlob::made(manifest.layers[at].clone(), layer.diff_id, move |out| {
                made.write(at + 1, &materials, out)
            })
            .with_parts(move |ranges, out| in_parts.write_ranges(at + 1, ranges, out));
            blob.compressed = layer.compressed.clone();
            blob.paths = layer.paths.iter().map(|path| path.path.clone()).collect();
            blob.moved = layer.paths.iter().filter(|path| !path.is_in_place()).map(|path| path.path.clone()).collect();
            // Of a detached recipe it may not be here.
            blob.file = layer.blob_file().filter(|file| file.path().exists()).map(Arc::new);
            blob.origin = layer.origin.as_deref().and_then(|origin| {
                origin.split_once('/').map(|(host, repository)| (host.to_owned(), repository.to_owned()))
            });
            blob
        };
        Self {
            reference: image.reference(),
            platform: image.platform(),
            media_type: media_type::MANIFEST.to_owned(),
            config_media_type: manifest.config.media_type.clone(),
            layers: image.layers.iter().enumerate().map(layer).collect(),
            manifest: json::to_vec(&manifest),
            manifest_algorithm: Algorithm::default(),
            config: image.config_blob(),
            config_algorithm: Algorithm::default(),
            config_origin: None,
            closure: image.closure.clone(),
            as_is: false,
        }
    }

    /// What people call a layer: the name of its biggest store path, `openjdk-17-jre-headless` for example. Layers of
    /// base images and scripts have none.
    pub fn title(&self, layer: &LayerBlob) -> Option<String> {
        let paths = layer.paths.iter().filter_map(|path| StorePath::parse(path.to_str()?).ok());
        let size = |path: &StorePath| self.closure.as_ref()?.get(path).map(|node| node.nar_size);
        // Where no size is known, the last.
        Some(paths.max_by_key(size)?.name().to_owned())
    }

    /// The manifest's digest: what the image is known by.
    pub fn digest(&self) -> Digest {
        self.manifest_algorithm.of(&self.manifest)
    }

    /// The config's descriptor.
    pub fn config_descriptor(&self) -> Descriptor {
        Descriptor::new(&self.config_media_type, self.config_algorithm.of(&self.config), self.config.len() as u64)
    }

    /// The descriptor of the image in an index, without a name.
    pub fn descriptor(&self) -> Descriptor {
        let descriptor = Descriptor::new(&self.media_type, self.digest(), self.manifest.len() as u64);
        // An artifact is for none.
        let platform = Some(self.platform.clone()).filter(|platform| !platform.os.is_empty());
        Descriptor { platform, ..descriptor }
    }

    /// The digests of the `count` lowest layers, but those that a higher layer has too.
    pub fn lowest(&self, count: usize) -> HashSet<Digest> {
        let (low, high) = self.layers.split_at(count);
        let high: HashSet<Digest> = high.iter().map(|layer| layer.descriptor.digest).collect();
        low.iter().map(|layer| layer.descriptor.digest).filter(|digest| !high.contains(digest)).collect()
    }

    /// The parsed config.
    ///
    /// # Errors
    ///
    /// When it is malformed.
    pub fn parse_config(&self) -> serde_json::Result<ImageConfig> {
        json::from_slice(&self.config)
    }

    /// The same image, made at another time, and so with another digest.
    ///
    /// # Errors
    ///
    /// When its config or manifest is malformed.
    pub fn with_created(self, created: Timestamp) -> serde_json::Result<Self> {
        let mut config = self.parse_config()?;
        let before = config.created.replace(created);
        config.history.iter_mut().filter(|step| step.created == before).for_each(|step| step.created = Some(created));
        let manifest: Manifest = serde_json::from_slice(&self.manifest)?;
        let with_config = Self { config: json::to_vec(&config), ..self };
        let manifest = Manifest { config: with_config.config_descriptor(), ..manifest };
        Ok(Self { manifest: json::to_vec(&manifest), ..with_config })
    }

    /// The manifest of the image with these layers instead of its own.
    pub fn manifest_with(&self, layers: Vec<Descriptor>) -> serde_json::Result<Vec<u8>> {
        let manifest: Manifest = serde_json::from_slice(&self.manifest)?;
        Ok(json::to_vec(&Manifest { layers, ..manifest }))
    }
}
