//! One layer of a recipe: what it is made from, and its blob, checked while it is made.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::error::{ImageError, Result, io_error};
use crate::{
    closure::{Graph, StorePath, parse_nar_hash},
    layer::{self, Files, LayerError, Options, Rewrite, Source, Tree},
    oci::{Descriptor, Digest, History, Sha256Writer, media_type},
};

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
    /// What its plain tar compresses to, by the names of `--compression`, where that was computed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub compressed: BTreeMap<String, Compressed>,
    /// `host/repository` of a registry that has the blob, for layers that were pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Its line in the image's history.
    #[serde(default, rename = "History")]
    pub history: History,
}

/// What a layer compresses to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compressed {
    /// Digest of the compressed blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Annotations of its descriptor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
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
            compressed: BTreeMap::new(),
            origin: None,
            history,
        }
    }

    /// A layer that is a blob, in the file `blob` or, without one, wherever its origin says.
    pub fn from_blob(descriptor: &Descriptor, diff_id: Digest, blob: Option<PathBuf>) -> Self {
        let hashed = layer::Hashed { digest: descriptor.digest, size: descriptor.size };
        Self {
            diff_id,
            media_type: media_type::as_oci(&descriptor.media_type).to_owned(),
            blob,
            ..Self::from_paths(Vec::new(), hashed, History::default())
        }
    }

    /// Whether nothing but a registry has its bytes.
    pub fn is_by_reference(&self) -> bool {
        self.paths.is_empty() && self.blob.is_none() && self.origin.is_some()
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
        Err(ImageError::Mismatch { index, expected: self.digest.into(), found: found.into(), why, paths })
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
    /// Whether it is a store path at its own place, and not moved elsewhere in the image.
    pub fn is_in_place(&self) -> bool {
        self.options.as_ref().is_none_or(|options| options.rewrite == Rewrite::default())
    }

    /// The path as a source of a tree.
    pub fn source(&self) -> Source {
        Source {
            path: self.path.clone(),
            files: Files::default(),
            options: self.options.clone().unwrap_or_default(),
            follow: false,
        }
    }
}

/// Reads the layers.json of a buildLayer result.
pub fn open_layers(path: &Path) -> Result<Vec<Layer>> {
    let text = fs::read(path).map_err(io_error("reading", path))?;
    let layers: Option<Vec<Layer>> =
        serde_json::from_slice(&text).map_err(|source| ImageError::Parse { path: path.to_owned(), source })?;
    Ok(layers.unwrap_or_default())
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
