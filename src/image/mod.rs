//! An image as its blobs: every transport reads and writes images in this form.
//!
//! Manifest and config are bytes, so that an image that is only copied keeps its digest. Layers are written on demand,
//! and checked while they are written.

mod blob_file;
mod checked;
mod chunked;
mod error;
mod found;
pub(crate) mod graph;
mod layer;
mod layer_contents;
mod local_store;
mod lock;
mod merged;
mod mount_points;
mod mountable;
pub(crate) mod nix_node;
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
pub use found::{Choice, FoundImages, FoundReferrers, PlatformChoice};
pub use graph::{ImageIndex, ManifestGraph};
pub use lock::Lock;
pub use merged::{FoundFile, MergedFile, MergedFiles};
pub use mount_points::MountPoints;
pub use mountable::mountable;
pub use nix_node::NixNode;
pub use node::ManifestNode;
pub use open_error::OpenError;
pub use opened::Opened;
pub use recipe::{Recipe, RecipeIndex};
pub use store::Store;

use std::{collections::HashSet, sync::Arc};

pub use checked::BlobReader;
pub use chunked::Chunked;
pub use layer::LayerBlob;
pub use layer_contents::LayerContents;
pub(crate) use local_store::local_store;
pub use store_paths::HISTORY_PREFIX;

use crate::{
    closure::{Graph, StorePath},
    oci::{Algorithm, Descriptor, Digest, ImageConfig, Manifest, Platform, Timestamp, descriptor::media_type, json},
};

/// Docker loads no image with more layers than this into its own store: "max depth exceeded" (moby, `maxLayerDepth` in
/// layer/layer_store.go).
pub const DOCKER_LAYERS_LIMIT: usize = 125;

/// One image of one platform.
///
/// [Example](crate#image).
#[derive(Clone, Debug)]
pub struct Image {
    /// The name in the form `name:tag`, if there is one.
    pub reference: Option<String>,
    /// The platform of the image.
    pub platform: Platform,
    /// The media type of the manifest.
    pub media_type: String,
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// The hash algorithm of the digest that referrers use.
    pub manifest_algorithm: Algorithm,
    /// The media type of the config.
    pub config_media_type: String,
    /// The bytes of the config.
    pub config: Vec<u8>,
    /// The hash algorithm of the config's digest in the manifest.
    pub config_algorithm: Algorithm,
    /// The registry's host and the repository that have the config, if it was read from one.
    pub config_origin: Option<(String, String)>,
    /// The layers, base first.
    pub layers: Vec<LayerBlob>,
    /// The store paths of the layers and their references, if they are known.
    pub closure: Option<Arc<Graph>>,
    /// Whether the manifest must not change, since users know the image by its digest.
    pub as_is: bool,
}

impl Image {
    /// Returns the image of a recipe.
    pub fn from_recipe(image: &Recipe) -> Self {
        let manifest = image.manifest();
        let layer = |(at, layer): (usize, &recipe::RecipeLayer)| {
            let made = Arc::new(layer.clone());
            let (in_parts, as_erofs) = (Arc::clone(&made), Arc::clone(&made));
            let (materials, erofs_materials) = (image.materials(), image.materials());
            let mut blob = LayerBlob::made(manifest.layers[at].clone(), layer.diff_id, move |out| {
                made.write(at + 1, &materials, out)
            })
            .with_parts(move |ranges, out| in_parts.write_ranges(at + 1, ranges, out))
            .with_erofs(move |out| as_erofs.write_erofs(at + 1, &erofs_materials, out));
            blob.compressed = layer.compressed.clone();
            blob.paths = layer.paths.iter().map(|path| path.path.clone()).collect();
            blob.moved = layer.paths.iter().filter(|path| !path.is_in_place()).map(|path| path.path.clone()).collect();
            blob.is_unmodified = mountable::is_made(layer) && layer.paths.iter().all(mountable::is_unmodified);
            // The file of a detached recipe's layer may be missing.
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

    /// Returns a title for a layer: the name of its biggest store path, for example `openjdk-17-jre-headless`. Layers
    /// of base images and scripts have none.
    pub fn title(&self, layer: &LayerBlob) -> Option<String> {
        let paths = layer.paths.iter().filter_map(|path| StorePath::parse(path.to_str()?).ok());
        let size = |path: &StorePath| self.closure.as_ref()?.get(path).map(|node| node.nar_size);
        // If no size is known, the last path is used.
        Some(paths.max_by_key(size)?.name().to_owned())
    }

    /// Returns whether it is the image of a container, which has a root file system. Artifacts have another config, and the
    /// attestations of BuildKit are for an unknown platform (moby/buildkit, docs/attestations/attestation-storage.md).
    pub(crate) fn is_container_image(&self) -> bool {
        media_type::is_config(&self.config_media_type) && self.platform.os != "unknown"
    }

    /// Returns the digest of the manifest, which identifies the image.
    pub fn digest(&self) -> Digest {
        self.manifest_algorithm.digest(&self.manifest)
    }

    /// Returns the descriptor of the config in the manifest.
    pub fn config_descriptor(&self) -> Descriptor {
        Descriptor::new(&self.config_media_type, self.config_algorithm.digest(&self.config), self.config.len() as u64)
    }

    /// Returns the descriptor of the image in an index, without a name.
    pub fn descriptor(&self) -> Descriptor {
        let descriptor = Descriptor::new(&self.media_type, self.digest(), self.manifest.len() as u64);
        // An artifact has no platform.
        let platform = Some(self.platform.clone()).filter(|platform| !platform.os.is_empty());
        Descriptor { platform, ..descriptor }
    }

    /// Returns whether a push compresses layers of the image. Artifacts are sent as they are.
    pub(crate) fn has_uncompressed_layers(&self) -> bool {
        media_type::is_config(&self.config_media_type)
            && self.layers.iter().any(|layer| media_type::is_compressed_by_push(&layer.descriptor.media_type))
    }

    /// Returns the digests of the `count` lowest layers, without those that a higher layer has too.
    pub fn lowest(&self, count: usize) -> HashSet<Digest> {
        let (low, high) = self.layers.split_at(count);
        let high: HashSet<Digest> = high.iter().map(|layer| layer.descriptor.digest).collect();
        low.iter().map(|layer| layer.descriptor.digest).filter(|digest| !high.contains(digest)).collect()
    }

    /// Parses the config.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    pub fn parse_config(&self) -> serde_json::Result<ImageConfig> {
        json::from_slice(&self.config)
    }

    /// Returns the image with another creation time, which changes its digest.
    ///
    /// # Errors
    ///
    /// If its config or manifest is malformed.
    pub fn with_created(self, created: Timestamp) -> serde_json::Result<Self> {
        let mut config = self.parse_config()?;
        let before = config.created.replace(created);
        config.history.iter_mut().filter(|step| step.created == before).for_each(|step| step.created = Some(created));
        let manifest: Manifest = serde_json::from_slice(&self.manifest)?;
        let with_config = Self { config: json::to_vec(&config), ..self };
        let manifest = Manifest { config: with_config.config_descriptor(), ..manifest };
        Ok(Self { manifest: json::to_vec(&manifest), ..with_config })
    }

    /// Returns the manifest of the image with these layers instead of its own.
    pub fn manifest_with(&self, layers: Vec<Descriptor>) -> serde_json::Result<Vec<u8>> {
        let manifest: Manifest = serde_json::from_slice(&self.manifest)?;
        Ok(json::to_vec(&Manifest { layers, ..manifest }))
    }
}
