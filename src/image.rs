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
//! A layer is made from its `paths`, or is the ready blob at `layer-path`. This
//! is nix2container's version 1 with `name`, `tag`, `variant`, `annotations`,
//! `history` and `closure` added; its library reads what is written here, and the reverse.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    closure::{Graph, StorePath, parse_nar_hash},
    layer::{self, ChunkReader, LayerError, Options, Source, Tree},
    oci::{
        Config, Descriptor, Digest, History, ImageConfig, Manifest, Platform, RootFs, Sha256Writer, Timestamp, json,
        media_type,
    },
};

/// The one version there is.
pub const VERSION: u32 = 1;
/// A recipe bigger than this (in bytes) is no recipe: 5,000 store paths make 1 MiB.
const SIZE_LIMIT: u64 = 256 * 1024 * 1024;

/// An image: what image.json holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    version: u32,
    /// Execution parameters.
    #[serde(rename = "image-config")]
    pub config: Config,
    /// The layers, base first.
    #[serde(deserialize_with = "null_as_empty")]
    pub layers: Vec<Layer>,
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
}

/// One layer and where its bytes come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of the blob.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Digest of the uncompressed tar (one, whatever the name says).
    #[serde(rename = "diff_ids")]
    pub diff_id: Digest,
    /// What it is made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<LayerPath>,
    /// The blob's media type.
    #[serde(rename = "mediatype")]
    pub media_type: String,
    /// The ready blob, where there is one.
    #[serde(default, rename = "layer-path", skip_serializing_if = "Option::is_none")]
    pub blob: Option<PathBuf>,
    /// Modification time of everything in it, where it is not the usual one; seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<u64>,
    /// `host/repository` of a registry that has the blob, for layers that were pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Its line in the image's history.
    #[serde(default, rename = "History")]
    pub history: History,
}

/// A store path of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerPath {
    /// The path.
    pub path: PathBuf,
    /// How its files are placed and owned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
}

/// Why an image could not be read or a blob not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file system refused.
    #[error("{act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file is no recipe.
    #[error("{} is no image.json", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The recipe is of another time.
    #[error("{} has version {version}, this strata reads version {VERSION}; build it again with this strata", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// No layer, config or manifest has this digest.
    #[error("the image has no blob {0}")]
    NoBlob(Digest),
    /// There are not so many layers.
    #[error("the image has no layer {0} (counted from 0)")]
    NoLayer(usize),
    /// A layer's files are not what they were when the image was made.
    #[error("layer {index} is {found} now, but the image says {expected}; {why}:{paths}")]
    Mismatch {
        /// Its place, counted from 1.
        index: usize,
        /// What the image says.
        expected: Digest,
        /// What it is.
        found: Digest,
        /// What is known of its store paths.
        why: &'static str,
        /// Those that changed, or where that is not known all of them; a line each.
        paths: String,
    },
    /// A ready blob could not be read, or is not what it should be.
    #[error("reading the blob {digest}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        source: io::Error,
    },
    /// A layer's bytes could not be made.
    #[error("layer {index}")]
    Layer {
        /// Its place, counted from 1.
        index: usize,
        /// Why.
        source: LayerError,
    },
}

type Result<T> = std::result::Result<T, ImageError>;

impl Image {
    /// An image of these layers, base first.
    pub fn new(config: Config, arch: String, created: Option<Timestamp>, layers: Vec<Layer>) -> Self {
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
        }
    }

    /// Reads an image.json.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`], [`ImageError::Parse`] and [`ImageError::Version`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let parse = |source| ImageError::Parse { path: path.to_owned(), source };
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(SIZE_LIMIT).read_to_end(&mut text))
            .map_err(io_error("reading", path))?;
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(&text).map_err(parse)?;
        if version != VERSION {
            let path = path.to_owned();
            return Err(ImageError::Version { path, version });
        }
        serde_json::from_slice(&text).map_err(parse)
    }

    /// Writes image.json at `path`, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        save_json(self, path)
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
        Platform { architecture: self.arch.clone(), os: "linux".to_owned(), variant: self.variant.clone() }
    }

    /// The manifest, [Image manifest](https://github.com/opencontainers/image-spec/blob/main/manifest.md).
    pub fn manifest(&self) -> Manifest {
        let blob = self.config_blob();
        let config = Descriptor::new(media_type::CONFIG, Digest::of(&blob), blob.len() as u64);
        let layers = self.layers.iter().map(|layer| Descriptor::new(&layer.media_type, layer.digest, layer.size));
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
        let layer = self.layers[at].clone();
        let closure = self.closure.clone();
        Ok(Box::new(ChunkReader::new(move |out| {
            layer.write(at + 1, closure.as_deref(), out).map_err(io::Error::other)
        })))
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

impl Layer {
    /// A layer made from `paths`, hashed elsewhere.
    pub fn from_paths(paths: Vec<LayerPath>, hashed: layer::Hashed, history: History) -> Self {
        Self {
            digest: hashed.digest,
            size: hashed.size,
            diff_id: hashed.digest,
            paths,
            media_type: media_type::LAYER_TAR.to_owned(),
            blob: None,
            mtime: None,
            origin: None,
            history,
        }
    }

    /// Writes the layer's blob to `out` and checks its digest on the way;
    /// `index` (from 1) is for messages, and so is `closure`, which tells what
    /// Nix recorded of each store path.
    ///
    /// # Errors
    ///
    /// [`ImageError::Mismatch`], after everything was written.
    pub fn write(&self, index: usize, closure: Option<&Graph>, out: &mut dyn Write) -> Result<()> {
        let found = match &self.blob {
            Some(path) => copy(path, Sha256Writer::new(out))?.finish().1,
            None => self
                .tree()
                .and_then(|tree| layer::write_hashed(&tree, out))
                .map(|(_, hashed)| hashed.digest)
                .map_err(|source| ImageError::Layer { index, source })?,
        };
        if found == self.digest {
            return Ok(());
        }
        let changed = closure.map(|closure| self.changed(closure)).unwrap_or_default();
        let (why, paths) = match changed.as_slice() {
            [] => {
                let all = self.paths.iter().map(|path| path.path.as_path()).chain(self.blob.as_deref());
                ("a store path of it changed", all.collect())
            }
            changed => {
                ("these store paths are not what Nix recorded (nix-store --repair-path mends them)", changed.to_vec())
            }
        };
        let paths = paths.iter().map(|path| format!("\n  {}", path.display())).collect();
        Err(ImageError::Mismatch { index, expected: self.digest, found, why, paths })
    }

    /// The store paths of the layer whose content is not what Nix recorded.
    fn changed(&self, closure: &Graph) -> Vec<&Path> {
        let recorded = |path: &Path| {
            let path = StorePath::parse(path.to_str()?).ok()?;
            parse_nar_hash(closure.get(&path)?.nar_hash.as_deref()?).map(Digest::from_bytes)
        };
        let is_changed = |path: &&Path| recorded(path).is_some_and(|recorded| nar_digest(path).ok() != Some(recorded));
        self.paths.iter().map(|path| path.path.as_path()).filter(is_changed).collect()
    }

    /// What the layer holds, for layers made from paths.
    pub fn tree(&self) -> std::result::Result<Tree, LayerError> {
        let sources: Vec<Source> = self.paths.iter().map(LayerPath::source).collect();
        Ok(Tree::new(&sources)?.with_mtime(self.mtime.unwrap_or(layer::MTIME)))
    }
}

impl LayerPath {
    /// The path as a source of a tree.
    pub fn source(&self) -> Source {
        Source { path: self.path.clone(), options: self.options.clone().unwrap_or_default(), follow: false }
    }
}

/// Reads the layers.json of a buildLayer result.
pub fn open_layers(path: &Path) -> Result<Vec<Layer>> {
    let text = fs::read(path).map_err(io_error("reading", path))?;
    let layers: Option<Vec<Layer>> =
        serde_json::from_slice(&text).map_err(|source| ImageError::Parse { path: path.to_owned(), source })?;
    Ok(layers.unwrap_or_default())
}

/// Writes a document at `path`, whole or not at all.
pub fn save_json<T: Serialize>(document: &T, path: &Path) -> Result<()> {
    let fail = || io_error("writing", path);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(fail())?;
    file.write_all(&json::to_vec(document)).map_err(fail())?;
    file.persist(path).map_err(|error| fail()(error.error))?;
    Ok(())
}

/// Digest of a store path as a NAR.
fn nar_digest(path: &Path) -> io::Result<Digest> {
    let mut nar = nix_nar::Encoder::new(path).map_err(io::Error::other)?;
    let mut out = Sha256Writer::new(io::sink());
    io::copy(&mut nar, &mut out)?;
    Ok(out.finish().1)
}

fn copy<W: Write>(path: &Path, mut out: W) -> Result<W> {
    let mut file = File::open(path).map_err(io_error("opening", path))?;
    io::copy(&mut file, &mut out).map_err(io_error("copying", path))?;
    Ok(out)
}

fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { act, path, source }
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<Layer>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
