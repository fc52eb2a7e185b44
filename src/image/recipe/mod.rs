//! The recipe, image.json: a whole image described, and its blobs made on demand.
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
//! This is nix2container's version 1 with keys added. Its library reads what is
//! written here, for it ignores what it does not know, and strata reads what it
//! writes. The keys that strata adds may all be missing:
//!
//! | of the image  | |
//! |---|---|
//! | `name`, `tag` | what it is called where it is loaded or pushed |
//! | `variant`     | of the architecture |
//! | `annotations` | of the manifest |
//! | `history`     | all of it, steps without a layer too; without, that of the layers |
//! | `closure`     | a list of `{ path, narSize, narHash, references, selfReference, asked }`: every store path of its layers; references are places in this list; `asked` is true of paths that the image is for though others reference them |
//! | `recipe`      | of a detached recipe: the store path of the one it was made from |
//! | `attachments` | a list of `{ artifactType, mediaType, path, annotations }`: files that go with it as referrers |
//!
//! | of a layer    | |
//! |---|---|
//! | `mtime`       | of everything in it, in seconds since the epoch |
//! | `compressed`  | what its plain tar compresses to, where that was computed: `{ "gzip": { digest, size, annotations } }`; keys are the names of `--compression`, and the annotations (of a chunk table, say) belong to its descriptor |
//! | `origin`      | `host/repository` of a registry that has the blob |
//!
//! # Where a layer's bytes come from
//!
//! From its `paths`, else from the ready blob at `layer-path`, else, where there
//! is neither, from its `origin`. An image with a layer of that last kind says
//! `"version": 2`: who does not know `origin` would take the layer for an empty
//! one. Everything else is version 1.
//!
//! # Detached recipes
//!
//! Nix finds a reference where the 32 characters of a store path's hash stand in
//! a file. A *detached* recipe has none: of every long run of such characters,
//! each sixteenth is written as JSON escapes it, so that every reader of JSON puts
//! them together again and Nix sees none of them ([`Recipe::save_detached`]).

mod detached;
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
    ImageError,
    error::{Result, io_error},
};
use crate::{
    budget::{self, Budget},
    closure::Graph,
    files,
    layer::ChunkReader,
    oci::{
        Config, Descriptor, Digest, History, ImageConfig, Manifest, Platform, RootFs, Timestamp,
        descriptor::media_type, json,
    },
};

pub use index::{RecipeIndex, RecipeList};
pub use layer::{Compressed, LayerPath, RecipeLayer, open_layers};
pub(crate) use locations::open_in_store;
pub use materials::{Materials, Provider, Recorded};

/// nix2container's version, which its library reads.
const VERSION: u32 = 1;
/// That of images with layers that only a registry has.
const VERSION_BY_REFERENCE: u32 = 2;

/// An image: what image.json holds.
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
    /// When the image was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The architecture's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The whole history, steps without a layer included; empty stands for that of the layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Annotations of the manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The store paths of its layers and their references, where it is made from store paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<Arc<Graph>>,
    /// The name to load it under, without a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tag to load it under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The recipe that this one was detached from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<PathBuf>,
    /// Files that go with the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Where store paths and blobs come from that the machine lacks.
    #[serde(skip)]
    pub provider: Option<Arc<dyn Provider>>,
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        json::to_vec(self) == json::to_vec(other)
    }
}

/// A file that goes with an image, as a referrer in a registry.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// What it is, `application/vnd.cyclonedx+json` for example.
    pub artifact_type: String,
    /// The file's media type.
    pub media_type: String,
    /// The file.
    pub path: PathBuf,
    /// Annotations of its manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Recipe {
    /// An image of these layers, base first.
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
            provider: None,
        }
    }

    /// A recipe with this config and these layers.
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
    /// [`ImageError::Io`], [`ImageError::Parse`], [`ImageError::Version`], and [`ImageError::Outside`] where it names a
    /// file that is neither in a Nix store nor in the recipe's directory.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(io_error("reading", path))?;
        let mut recipe = Self::parse(&read_document(file, path)?, path)?;
        locations::check(&mut recipe, path, Some(files::directory(path)))?;
        Ok(recipe)
    }

    /// As [`open`](Self::open), from a reader; `path` is for messages, and only store paths are allowed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn read(reader: impl Read, path: &Path) -> Result<Self> {
        let mut recipe = Self::parse(&read_document(reader, path)?, path)?;
        locations::check(&mut recipe, path, None)?;
        Ok(recipe)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self> {
        if is_list(text, path)? {
            return Err(ImageError::List(path.to_owned()));
        }
        serde_json::from_slice(text).map_err(parse_error(path))
    }

    /// Writes image.json at `path`, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        save_json(&self.versioned(), path)
    }

    /// Writes a recipe without references: the same image as the one at `recipe`, where nothing that Nix would find
    /// names a store path.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`].
    pub fn save_detached(&self, recipe: &Path, path: &Path) -> Result<()> {
        let image = Self { recipe: Some(recipe.to_owned()), ..self.versioned() };
        write_whole(&detached::without_hashes(&json::to_vec(&image)), path)
    }

    /// The same image, with the version that readers of it must know.
    fn versioned(&self) -> Self {
        let by_reference = self.layers.iter().any(RecipeLayer::is_by_reference);
        Self { version: if by_reference { VERSION_BY_REFERENCE } else { VERSION }, ..self.clone() }
    }

    /// `name:tag`, where the image has a name.
    pub fn reference(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        Some(format!("{name}:{}", self.tag.as_deref().unwrap_or("latest")))
    }

    /// The config blob, [Image configuration](https://github.com/opencontainers/image-spec/blob/main/config.md).
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

    /// Digest of the config blob: the image's id to docker.
    pub fn config_digest(&self) -> Digest {
        Digest::of(&self.config_blob())
    }

    /// The machine the image is for.
    pub fn platform(&self) -> Platform {
        Platform::linux(&self.arch, self.variant.as_deref())
    }

    /// The manifest, [Image manifest](https://github.com/opencontainers/image-spec/blob/main/manifest.md).
    pub fn manifest(&self) -> Manifest {
        let blob = self.config_blob();
        let config = Descriptor::new(media_type::CONFIG, Digest::of(&blob), blob.len() as u64);
        let layers = self.layers.iter().map(RecipeLayer::descriptor);
        Manifest { annotations: self.annotations.clone(), ..Manifest::new(config, layers.collect()) }
    }

    /// The bytes of the blob with this digest: a layer, the config or the manifest.
    ///
    /// A layer is made while it is read, and its digest checked: a store path
    /// that is not what it was is an error at the end, which carries
    /// [`ImageError::Mismatch`].
    ///
    /// # Errors
    ///
    /// [`ImageError::NoBlob`].
    pub fn blob(&self, digest: &Digest) -> Result<Box<dyn Read + Send>> {
        for blob in [self.config_blob(), json::to_vec(&self.manifest())] {
            if Digest::of(&blob) == *digest {
                return Ok(Box::new(io::Cursor::new(blob)));
            }
        }
        let mut layers = self.layers.iter();
        let at = layers.position(|layer| layer.digest == *digest).ok_or(ImageError::NoBlob(*digest))?;
        let (layer, materials) = (self.layers[at].clone(), self.materials());
        Ok(Box::new(ChunkReader::new(move |out| layer.write(at + 1, &materials, out).map_err(io::Error::other))))
    }

    /// What its layers are made of besides what the machine has.
    pub fn materials(&self) -> Materials {
        Materials { closure: self.closure.clone(), provider: self.provider.clone(), recipe: self.recipe.clone() }
    }

    /// The bytes of a layer's blob, by its place, counted from the base and from 0.
    ///
    /// # Errors
    ///
    /// [`ImageError::NoLayer`]; the stream's own errors are those of [`blob`](Self::blob).
    pub fn layer_blob(&self, place: usize) -> Result<Box<dyn Read + Send>> {
        let layer = self.layers.get(place).ok_or(ImageError::NoLayer(place))?;
        self.blob(&layer.digest)
    }
}

/// A recipe, or an index of recipes.
#[derive(Debug)]
pub enum RecipeFile {
    /// An image.json.
    Recipe(Box<Recipe>),
    /// What `buildIndex` makes.
    Index(RecipeIndex),
}

impl RecipeFile {
    /// Reads a recipe or an index of recipes from the file at `path`.
    ///
    /// # Errors
    ///
    /// As [`Recipe::open`].
    pub fn open(file: File, path: &Path) -> Result<Self> {
        Self::parse_text(&read_document(file, path)?, path, Some(files::directory(path)))
    }

    /// As [`open`](Self::open), from a reader; `path` is for messages, and only store paths are allowed.
    ///
    /// # Errors
    ///
    /// As [`Recipe::read`].
    pub fn read(reader: impl Read, path: &Path) -> Result<Self> {
        Self::parse_text(&read_document(reader, path)?, path, None)
    }

    fn parse_text(text: &[u8], path: &Path, directory: Option<&Path>) -> Result<Self> {
        if is_list(text, path)? {
            let list: RecipeList = serde_json::from_slice(text).map_err(parse_error(path))?;
            let images = list.images.iter().map(|image| locations::recipe_in_store(image, path).and_then(Recipe::open));
            let images = images.collect::<Result<Vec<_>>>()?;
            return Ok(Self::Index(RecipeIndex::new(list, images)));
        }
        let mut recipe = Recipe::parse(text, path)?;
        locations::check(&mut recipe, path, directory)?;
        Ok(Self::Recipe(Box::new(recipe)))
    }
}

fn read_document(reader: impl Read, path: &Path) -> Result<Vec<u8>> {
    Budget::new(&budget::RECIPE).read(reader).map_err(io_error("reading", path))
}

fn parse_error(path: &Path) -> impl Fn(serde_json::Error) -> ImageError {
    |source| ImageError::Parse { path: path.to_owned(), source }
}

/// Whether the document is an index of recipes. Its version is checked.
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

/// Writes a document at `path`, whole or not at all.
pub fn save_json<T: Serialize>(document: &T, path: &Path) -> Result<()> {
    write_whole(&json::to_vec(document), path)
}

/// Writes a file at `path`, whole or not at all.
pub fn write_whole(bytes: &[u8], path: &Path) -> Result<()> {
    files::write(path, bytes).map_err(io_error("writing", path))
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<RecipeLayer>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
