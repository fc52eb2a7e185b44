//! The recipe, image.json, which describes an image. Its blobs are made on demand.
//!
//! ```json
//! { "version": 1,
//!   "image-config": { "Entrypoint": ["/nix/store/…-hello/bin/hello"] },
//!   "layers": [ { "digest": "sha256:…", "size": 1234, "diff_ids": "sha256:…",
//!                 "paths": [ { "path": "/nix/store/…-hello" } ],
//!                 "mediatype": "application/vnd.oci.image.layer.v1.tar",
//!                 "History": { "created_by": "nix2container" } } ],
//!   "arch": "amd64", "created": "0001-01-01T00:00:00Z",
//!   "name": "hello", "tag": "latest" }
//! ```
//!
//! This is version 1 of nix2container with additional keys. Its library reads these
//! recipes because it ignores unknown keys, and strata reads the recipes of
//! nix2container. All keys that strata adds are optional:
//!
//! | of the image  | |
//! |---|---|
//! | `name`, `tag` | the name of the image when it is loaded or pushed |
//! | `variant`     | the variant of the architecture |
//! | `annotations` | annotations of the manifest |
//! | `history`     | the whole history, including steps without a layer; by default, the history of the layers |
//! | `closure`     | a list of `{ path, narSize, narHash, references, selfReference, asked }`: every store path of its layers; references are indices in this list; `asked` is true for requested paths that other paths reference |
//! | `recipe`      | the store path of the original recipe, if this one is detached |
//! | `nixNode`     | `{ closure, directories, files }`, for nodes with a Nix store: the store path whose file `store-paths` lists the store paths that they mount, and those that are directories and files |
//! | `attachments` | a list of `{ artifactType, mediaType, path, annotations }`: files that are attached as referrers |
//!
//! | of a layer    | |
//! |---|---|
//! | `mtime`       | the modification time of all files, in seconds since the epoch |
//! | `compressed`  | the compressed blobs, if they were computed: `{ "gzip": { digest, size, annotations } }`; keys are the names of `--compression`, and the annotations (for example of a table of contents) belong to the descriptor |
//! | `origin`      | `host/repository` of a registry that has the blob |
//!
//! # Sources of the bytes of a layer
//!
//! A layer is made from its `paths`, or else read from the blob file at `layer-path`,
//! or else downloaded from its `origin`. An image with a layer of the last kind has
//! `"version": 2`, because programs without support for `origin` would treat the
//! layer as empty. All other images have version 1.
//!
//! # Detached recipes
//!
//! Nix detects a reference if a file contains the 32 characters of the hash of a
//! store path. A *detached* recipe has no references: in every long run of such
//! characters, some are written as JSON escapes. Every JSON parser restores them,
//! and Nix does not detect the hash ([`Recipe::save_detached`]).

mod detached;
mod file;
mod index;
mod layer;
mod locations;
mod materials;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    ImageError, NixNode,
    error::{Result, io_error},
};
use crate::{
    budget::{self, Budget},
    closure::Graph,
    files,
    layer::{ChunkReader, Patterns},
    oci::{
        Config, Descriptor, Digest, History, ImageConfig, Manifest, Platform, RootFs, Timestamp,
        descriptor::media_type, json,
    },
};

pub use file::RecipeFile;
pub use index::{RecipeIndex, RecipeList};
pub use layer::{Compressed, LayerPath, RecipeLayer, open_layers};
pub(crate) use locations::open_in_store;
pub use materials::{Materials, Provider, RecordedNar};

/// The version of nix2container, which its library reads.
const VERSION: u32 = 1;
/// The version of images with layers that only a registry has.
const VERSION_BY_REFERENCE: u32 = 2;

/// The content of an image.json.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recipe {
    version: u32,
    /// Execution parameters.
    #[serde(rename = "image-config")]
    pub config: Config,
    /// The layers, base first.
    #[serde(deserialize_with = "null_as_empty")]
    pub layers: Vec<RecipeLayer>,
    /// `GOARCH` of the programs inside.
    pub arch: String,
    /// The creation time of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The whole history, including steps without a layer. If it is empty, the history of the layers is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Annotations of the manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The store paths of the layers and their references, if the image is made from store paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<Arc<Graph>>,
    /// The name of the image, without a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tag of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The original recipe, if this one is detached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<PathBuf>,
    /// Files that are attached to the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// The store paths that nodes with a Nix store mount.
    #[serde(default, rename = "nixNode", skip_serializing_if = "Option::is_none")]
    pub(crate) nix_node: Option<NixNode>,
    /// The provider of store paths and blobs that are not on this machine.
    #[serde(skip)]
    pub provider: Option<Arc<dyn Provider>>,
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        json::to_vec(self) == json::to_vec(other)
    }
}

/// A file that is attached to an image, as a referrer in a registry.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// The artifact type, for example `application/vnd.cyclonedx+json`.
    pub artifact_type: String,
    /// The media type of the file.
    pub media_type: String,
    /// The path of the file.
    pub path: PathBuf,
    /// Annotations of the manifest of the attachment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Recipe {
    /// Creates the recipe of an image with these layers, base first.
    pub fn new(config: Config, arch: String, created: Option<Timestamp>, layers: Vec<RecipeLayer>) -> Self {
        Self {
            version: VERSION,
            config,
            layers,
            arch,
            created,
            variant: None,
            history: Vec::new(),
            annotations: BTreeMap::new(),
            closure: None,
            name: None,
            tag: None,
            recipe: None,
            attachments: Vec::new(),
            nix_node: None,
            provider: None,
        }
    }

    /// Creates a recipe from the config of an image and its layers.
    pub fn from_config(config: ImageConfig, layers: Vec<RecipeLayer>) -> Self {
        let ImageConfig { created, architecture, variant, config, history, .. } = config;
        let mut image = Self::new(config, architecture, created, layers);
        (image.variant, image.history) = (variant, history);
        image
    }

    /// Reads an image.json.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`], [`ImageError::Parse`], [`ImageError::Version`], and [`ImageError::Outside`] if the recipe names a
    /// file that is neither in a Nix store nor in the directory of the recipe.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(io_error("reading", path))?;
        let mut recipe = Self::parse(&read_document(file, path)?, path)?;
        locations::check(&mut recipe, path, Some(files::directory(path)))?;
        Ok(recipe)
    }

    /// Reads a recipe from a reader. `path` is used in messages, and the recipe may only name store paths.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn read(reader: impl Read, path: &Path) -> Result<Self> {
        let mut recipe = Self::parse(&read_document(reader, path)?, path)?;
        locations::check(&mut recipe, path, None)?;
        Ok(recipe)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self> {
        if is_list(text, path)? {
            return Err(ImageError::List(path.to_owned()));
        }
        let mut recipe: Self = serde_json::from_slice(text).map_err(parse_error(path))?;
        let patterns = Patterns::default();
        let paths = recipe.layers.iter_mut().flat_map(|layer| &mut layer.paths);
        for options in paths.filter_map(|path| path.options.as_mut()) {
            options.patterns = patterns.clone();
        }
        Ok(recipe)
    }

    /// Writes the recipe to `path` atomically.
    pub fn save(&self, path: &Path) -> Result<()> {
        save_json(&self.versioned(), path)
    }

    /// Writes a detached recipe, in which Nix detects no references, to `path` atomically. `recipe` is the store path of the
    /// original recipe.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`].
    pub fn save_detached(&self, recipe: &Path, path: &Path) -> Result<()> {
        let image = Self { recipe: Some(recipe.to_owned()), ..self.versioned() };
        write_whole(&detached::without_hashes(&json::to_vec(&image)), path)
    }

    /// Returns the recipe with the version that its layers require.
    fn versioned(&self) -> Self {
        let by_reference = self.layers.iter().any(RecipeLayer::is_by_reference);
        Self { version: if by_reference { VERSION_BY_REFERENCE } else { VERSION }, ..self.clone() }
    }

    /// Returns the name, `name:tag`.
    pub fn reference(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        Some(format!("{name}:{}", self.tag.as_deref().unwrap_or("latest")))
    }

    /// Returns the config blob, [Image configuration](https://github.com/opencontainers/image-spec/blob/main/config.md).
    pub fn config_blob(&self) -> Vec<u8> {
        json::to_vec(&ImageConfig {
            created: self.created,
            author: None,
            architecture: self.arch.clone(),
            os: "linux".to_owned(),
            variant: self.variant.clone(),
            config: self.config.clone(),
            other: serde_json::Map::new(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: self.layers.iter().map(|layer| layer.diff_id).collect(),
            },
            history: match self.history.as_slice() {
                [] => self.layers.iter().map(|layer| layer.history.clone()).collect(),
                history => history.to_vec(),
            },
        })
    }

    /// Returns the digest of the config blob, which is the ID of the image in docker.
    pub fn config_digest(&self) -> Digest {
        Digest::sha256(&self.config_blob())
    }

    /// Returns the platform of the image.
    pub fn platform(&self) -> Platform {
        Platform::linux(&self.arch, self.variant.as_deref())
    }

    /// Returns the manifest, [Image manifest](https://github.com/opencontainers/image-spec/blob/main/manifest.md).
    pub fn manifest(&self) -> Manifest {
        let blob = self.config_blob();
        let config = Descriptor::new(media_type::CONFIG, Digest::sha256(&blob), blob.len() as u64);
        let layers = self.layers.iter().map(RecipeLayer::descriptor);
        Manifest { annotations: self.annotations.clone(), ..Manifest::new(config, layers.collect()) }
    }

    /// Opens the blob with this digest: a layer, the config or the manifest.
    ///
    /// A layer is made while it is read. If a store path changed, the digest of the
    /// layer is wrong, and reading fails at the end with an error that has
    /// [`ImageError::Mismatch`] as its cause.
    ///
    /// # Errors
    ///
    /// [`ImageError::NoBlob`] if the image has no such blob.
    pub fn blob(&self, digest: &Digest) -> Result<Box<dyn Read + Send>> {
        for blob in [self.config_blob(), json::to_vec(&self.manifest())] {
            if Digest::sha256(&blob) == *digest {
                return Ok(Box::new(io::Cursor::new(blob)));
            }
        }
        let mut layers = self.layers.iter();
        let at = layers.position(|layer| layer.digest == *digest).ok_or(ImageError::NoBlob(*digest))?;
        let (layer, materials) = (self.layers[at].clone(), self.materials());
        Ok(Box::new(ChunkReader::new(move |out| layer.write(at + 1, &materials, out).map_err(io::Error::other))))
    }

    /// Returns the parts of the recipe that are needed to make its layers.
    pub fn materials(&self) -> Materials {
        Materials { closure: self.closure.clone(), provider: self.provider.clone(), recipe: self.recipe.clone() }
    }

    /// Opens the blob of a layer by its index, counted from 0, the base.
    ///
    /// # Errors
    ///
    /// [`ImageError::NoLayer`] if there is no such layer. Reading fails as for [`blob`](Self::blob).
    pub fn layer_blob(&self, place: usize) -> Result<Box<dyn Read + Send>> {
        let layer = self.layers.get(place).ok_or(ImageError::NoLayer(place))?;
        self.blob(&layer.digest)
    }
}

fn read_document(reader: impl Read, path: &Path) -> Result<Vec<u8>> {
    Budget::new(&budget::RECIPE).read(reader).map_err(io_error("reading", path))
}

fn parse_error(path: &Path) -> impl Fn(serde_json::Error) -> ImageError {
    |source| ImageError::Parse { path: path.to_owned(), source }
}

/// Returns whether the document is an index of recipes, and checks its version.
fn is_list(text: &[u8], path: &Path) -> Result<bool> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
        images: Option<IgnoredAny>,
    }
    let Versioned { version, images } = serde_json::from_slice(text).map_err(parse_error(path))?;
    if !(VERSION..=VERSION_BY_REFERENCE).contains(&version) {
        return Err(ImageError::Version { path: path.to_owned(), version });
    }
    Ok(images.is_some())
}

/// Writes a document to `path` atomically.
pub fn save_json<T: Serialize>(document: &T, path: &Path) -> Result<()> {
    write_whole(&json::to_vec(document), path)
}

/// Writes a file atomically.
pub fn write_whole(bytes: &[u8], path: &Path) -> Result<()> {
    files::write(path, bytes).map_err(io_error("writing", path))
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<RecipeLayer>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
