//! One layer of a recipe: what it is made from, and its blob, checked while it is made.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{self, Read, Seek, Write},
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    locations::open_file,
    materials::{Materials, in_store},
};
use crate::{
    closure::StorePath,
    files::Scratch,
    image::{
        BlobFile, ImageError,
        error::{Result, copy_blob, io_error},
    },
    layer::{
        self, Files, LayerError, PathOptions, Rewrite, Source, Tree, chunked,
        nar::{NarReader, Node},
    },
    oci::{
        Descriptor, Digest, History, Sha256Writer,
        descriptor::{blob_size, media_type},
    },
};

/// One layer and where its bytes come from.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecipeLayer {
    /// Digest of the blob.
    pub digest: Digest,
    /// Size of the blob in bytes.
    #[serde(deserialize_with = "blob_size")]
    pub size: u64,
    /// Digest of the uncompressed tar (one, despite the name).
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
    /// What its descriptor says of the chunks of the blob, where it is one of zstd:chunked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `host/repository` of a registry that has the blob, for layers that were pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Its line in the image's history.
    #[serde(default, rename = "History")]
    pub history: History,
}

/// What a layer compresses to.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compressed {
    /// Digest of the compressed blob.
    pub digest: Digest,
    /// Its size in bytes.
    #[serde(deserialize_with = "blob_size")]
    pub size: u64,
    /// Annotations of its descriptor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Compressed {
    /// Its descriptor in a manifest.
    pub fn descriptor(&self, media_type: &str) -> Descriptor {
        Descriptor { annotations: self.annotations.clone(), ..Descriptor::new(media_type, self.digest, self.size) }
    }
}

/// A store path of a layer.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerPath {
    /// The path.
    pub path: PathBuf,
    /// How its files are placed and owned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<PathOptions>,
}

impl RecipeLayer {
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
            annotations: BTreeMap::new(),
            origin: None,
            history,
        }
    }

    /// A layer that is a blob, in the file `blob` or, without one, wherever its origin says.
    pub fn from_blob(descriptor: &Descriptor, diff_id: Digest, blob: Option<PathBuf>) -> Self {
        let hashed = layer::Hashed { digest: descriptor.digest, size: descriptor.size };
        let annotations = descriptor.annotations.iter().filter(|(key, _)| chunked::annotation::is_ours(key));
        Self {
            annotations: annotations.map(|(key, value)| (key.clone(), value.clone())).collect(),
            diff_id,
            media_type: media_type::as_oci(&descriptor.media_type).to_owned(),
            blob,
            ..Self::from_paths(Vec::new(), hashed, History::default())
        }
    }

    /// Its descriptor in a manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            annotations: self.annotations.clone(),
            ..Descriptor::new(&self.media_type, self.digest, self.size)
        }
    }

    /// Whether nothing but a registry has its bytes.
    pub fn is_by_reference(&self) -> bool {
        self.paths.is_empty() && self.blob.is_none() && self.origin.is_some()
    }

    /// Whether it holds nothing but what every user can read: whole store paths.
    fn is_of_store_paths(&self) -> bool {
        self.paths.iter().all(|path| path.path.to_str().is_some_and(|path| StorePath::parse(path).is_ok()))
    }

    /// Writes the layer's blob to `out` and checks its digest on the way;
    /// `index` (from 1) is for messages. Nothing is written of a blob with a wrong digest that is made of other things than
    /// store paths.
    ///
    /// # Errors
    ///
    /// [`ImageError::Mismatch`], after everything was written.
    pub fn write(&self, index: usize, materials: &Materials, out: &mut dyn Write) -> Result<()> {
        let found = if self.blob.is_some() || self.is_by_reference() {
            self.copy_blob(materials, out)?
        } else if self.is_of_store_paths() {
            self.make(materials, out).map_err(|source| ImageError::Layer { index, source })?
        } else {
            self.make_before(index, materials, out)?
        };
        if found == self.digest {
            return Ok(());
        }
        let changed = self.changed(materials);
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

    /// Writes these ranges of the layer's blob, which are in order and apart, to `out`, without a look at its digest;
    /// `false`, and nothing written, where the machine lacks something of it, so that all of it has to be made.
    ///
    /// # Errors
    ///
    /// When something cannot be read, or `out` fails.
    pub fn write_ranges(&self, index: usize, ranges: &[Range<u64>], out: &mut dyn Write) -> Result<bool> {
        if self.blob.is_some()
            || self.is_by_reference()
            || !self.is_of_store_paths()
            || self.paths.iter().any(|path| fs::symlink_metadata(&path.path).is_err())
        {
            return Ok(false);
        }
        let fail = |source| ImageError::Layer { index, source };
        layer::write_ranges(&self.tree().map_err(fail)?, ranges, out).map_err(fail)?;
        Ok(true)
    }

    /// Makes the layer from files that may be secrets of the user: they are written only after the digest was right.
    fn make_before(&self, index: usize, materials: &Materials, out: &mut dyn Write) -> Result<Digest> {
        let fail = |source| ImageError::Blob { digest: self.digest, source };
        let mut file = tempfile::tempfile().map_err(fail)?;
        let found = self.make(materials, &mut file).map_err(|source| ImageError::Layer { index, source })?;
        if found == self.digest {
            file.rewind().map_err(fail)?;
            copy_blob(self.digest, &mut file, out)?;
        }
        Ok(found)
    }

    /// Makes the layer from its store paths: those that the machine has as they are, the others from their NARs.
    fn make(&self, materials: &Materials, out: &mut dyn Write) -> std::result::Result<Digest, LayerError> {
        let mut sources: Vec<Source> = self.paths.iter().map(LayerPath::source).collect();
        let mut names = HashSet::new();
        // Otherwise their files are mixed with others, and have to be files.
        let in_order = self.paths.iter().all(|path| path.is_in_place() && names.insert(&path.path));
        let mut unpacked = None;
        for (at, source) in sources.iter_mut().enumerate() {
            let is_absent =
                fs::symlink_metadata(&source.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            let Some(path) = is_absent.then(|| StorePath::parse(source.path.to_str()?).ok()).flatten() else {
                continue;
            };
            if in_order {
                let materials = materials.clone();
                source.files = Files::Nar(Arc::new(move || materials.nar(&path)));
                continue;
            }
            let fail = |error| LayerError::Nar { path: path.as_path().to_owned(), source: layer::explain_full(error) };
            let folder = match &unpacked {
                Some(folder) => folder,
                None => unpacked.insert(Scratch::create().map_err(fail)?),
            };
            let place = folder.path().join(at.to_string());
            layer::nar::unpack(materials.nar(&path).map_err(fail)?, &place).map_err(fail)?;
            source.files = Files::At(place);
        }
        let tree = Tree::new(&sources)?.with_mtime(self.mtime.unwrap_or(layer::MTIME));
        Ok(layer::write_hashed(&tree, out)?.1.digest)
    }

    /// Copies the ready blob: the file where there is one, else from the registry that has it, else out of a NAR.
    fn copy_blob(&self, materials: &Materials, out: &mut dyn Write) -> Result<Digest> {
        let fail = |source| ImageError::Blob { digest: self.digest, source };
        let mut out = Sha256Writer::new(out);
        match self.blob.as_deref() {
            Some(path) if path.exists() || materials.provider.is_none() => {
                let (mut file, found) = self.file(path).open_hashed().map_err(io_error("reading", path))?;
                if found != self.digest {
                    return Ok(found);
                }
                copy_blob(self.digest, &mut file, &mut out)?;
                return Ok(out.finish().1);
            }
            _ => {}
        }
        let from_registry = match (&self.origin, &materials.provider) {
            (Some(origin), Some(provider)) => provider.blob(origin, &self.digest),
            (Some(origin), None) => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("it is only in {origin}; use pullImage to have the base in the store"),
            )),
            (None, _) => Err(io::Error::new(io::ErrorKind::NotFound, "no registry is known to have it")),
        };
        let mut blob = match (from_registry, self.blob.as_deref().and_then(in_store)) {
            (Ok(blob), _) => blob,
            (Err(error), None) => return Err(fail(error)),
            (Err(error), Some((path, inside))) => match file_of(materials, &path, inside) {
                Ok(file) => file,
                Err(also) => return Err(fail(io::Error::new(also.kind(), format!("{error}; {also}")))),
            },
        };
        // One byte more than there should be is enough to know that there is too much.
        copy_blob(self.digest, &mut (&mut blob).take(self.size.saturating_add(1)), &mut out)?;
        Ok(out.finish().1)
    }

    /// The file with the ready blob, which may be missing.
    pub fn blob_file(&self) -> Option<BlobFile> {
        self.blob.as_deref().map(|path| self.file(path))
    }

    fn file(&self, path: &Path) -> BlobFile {
        let own = path.to_owned();
        BlobFile::new(path.to_owned(), (self.digest, self.size), move || open_file(&own))
    }

    /// The store paths of the layer whose content is not what Nix recorded.
    fn changed(&self, materials: &Materials) -> Vec<&Path> {
        let recorded = |path: &Path| materials.recorded(&StorePath::parse(path.to_str()?).ok()?);
        // What came as a NAR was checked.
        let is_changed = |path: &&Path| {
            path.exists() && recorded(path).is_some_and(|recorded| nar_digest(path).ok() != Some(recorded.digest))
        };
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
        self.options.as_ref().is_none_or(|options| options.rewrite == Rewrite::default() && options.moved.is_none())
    }

    /// The path as a source of a tree.
    pub fn source(&self) -> Source {
        let options = self.options.clone().unwrap_or_default();
        let files = options.unpacked.clone().map_or_else(Files::default, Files::At);
        Source { path: self.path.clone(), files, options, follow: false }
    }

    /// Whether what it holds is not what its store path holds.
    pub fn is_unpacked(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.unpacked.is_some())
    }
}

/// Reads the layers.json of a buildLayer result.
pub fn open_layers(path: &Path) -> Result<Vec<RecipeLayer>> {
    let text = fs::read(path).map_err(io_error("reading", path))?;
    let layers: Option<Vec<RecipeLayer>> =
        serde_json::from_slice(&text).map_err(|source| ImageError::Parse { path: path.to_owned(), source })?;
    Ok(layers.unwrap_or_default())
}

/// A file at or in a store path that the machine lacks, out of its NAR.
fn file_of(materials: &Materials, path: &StorePath, inside: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut nar = NarReader::new(materials.nar(path)?);
    while let Some(node) = nar.next_node()? {
        if nar.path() == inside.as_os_str().as_bytes() && matches!(node, Node::File { .. }) {
            return Ok(Box::new(nar));
        }
    }
    let why = format!("{path} has no file {}", inside.display());
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Digest of a store path as a NAR.
fn nar_digest(path: &Path) -> io::Result<Digest> {
    let mut nar = nix_nar::Encoder::new(path).map_err(io::Error::other)?;
    let mut out = Sha256Writer::new(io::sink());
    io::copy(&mut nar, &mut out)?;
    Ok(out.finish().1)
}
