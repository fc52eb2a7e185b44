//! A layer of a recipe: its sources, and its blob, which is checked while it is made.

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
        local_store,
    },
    layer::{
        self, LayerError, PathOptions, Rewrite, Source, SourceFiles, Tree, chunked,
        nar::{NarNode, NarReader},
    },
    oci::{
        Descriptor, Digest, History, Sha256Writer,
        descriptor::{blob_size, media_type},
    },
};

/// A layer and the sources of its bytes.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecipeLayer {
    /// The digest of the blob.
    pub digest: Digest,
    /// The size of the blob in bytes.
    #[serde(deserialize_with = "blob_size")]
    pub size: u64,
    /// The digest of the uncompressed tar. It is a single digest, despite the name of the field in JSON.
    #[serde(rename = "diff_ids")]
    pub diff_id: Digest,
    /// The paths that the layer is made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<LayerPath>,
    /// The media type of the blob.
    #[serde(rename = "mediatype")]
    pub media_type: String,
    /// The file with the existing blob, if there is one.
    #[serde(default, rename = "layer-path", skip_serializing_if = "Option::is_none")]
    pub blob: Option<PathBuf>,
    /// The modification time of all files in the layer if it is not the default, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<u64>,
    /// The compressed blobs of the layer, by the names of `--compression`, if they were computed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub compressed: BTreeMap<String, Compressed>,
    /// The annotations of the blob's descriptor, if it is compressed with zstd:chunked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The repository (`host/repository`) of a registry that has the blob, for pulled layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The entry in the image's history.
    #[serde(default, rename = "History")]
    pub history: History,
}

/// The compressed blob of a layer.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compressed {
    /// The digest of the compressed blob.
    pub digest: Digest,
    /// The size in bytes.
    #[serde(deserialize_with = "blob_size")]
    pub size: u64,
    /// The annotations of the descriptor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Compressed {
    /// Returns the descriptor in a manifest.
    pub fn descriptor(&self, media_type: &str) -> Descriptor {
        Descriptor { annotations: self.annotations.clone(), ..Descriptor::new(media_type, self.digest, self.size) }
    }
}

/// A store path in a layer.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerPath {
    /// The path in the store.
    pub path: PathBuf,
    /// The locations and owners of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<PathOptions>,
}

impl RecipeLayer {
    /// Returns a layer of `paths`, which was hashed before.
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

    /// Returns a layer whose blob is in the file `blob`, or without a file at its origin.
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

    /// Returns the descriptor in a manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            annotations: self.annotations.clone(),
            ..Descriptor::new(&self.media_type, self.digest, self.size)
        }
    }

    /// Whether only a registry has the blob.
    pub fn is_by_reference(&self) -> bool {
        self.paths.is_empty() && self.blob.is_none() && self.origin.is_some()
    }

    /// Whether the layer contains only store paths, which every user can read.
    fn is_of_store_paths(&self) -> bool {
        self.paths.iter().all(|path| path.path.to_str().is_some_and(|path| local_store().parse(path).is_ok()))
    }

    /// Writes the layer's blob to `out` and checks its digest at the same time. `index` (from 1) is used in messages.
    /// If the layer is made of other files than store paths, nothing is written of a blob with a wrong digest.
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
        if found == self.digest { Ok(()) } else { Err(self.mismatch(index, materials, self.digest, found)) }
    }

    /// Returns the error for a layer whose digest differs from the one in its recipe.
    pub(crate) fn mismatch(&self, index: usize, materials: &Materials, expected: Digest, found: Digest) -> ImageError {
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
        ImageError::Mismatch { index, expected: expected.into(), found: found.into(), why, paths }
    }

    /// Writes these ranges of the layer's blob to `out` without checking its digest. The ranges must be ordered and
    /// disjoint. Returns `false` without writing anything if the machine lacks a source, so that the whole layer must
    /// be made.
    ///
    /// # Errors
    ///
    /// If a source cannot be read, or `out` fails.
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

    /// Makes the layer from files that may be private files of the user. They are written only after the digest was
    /// checked.
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

    /// Makes the layer from its store paths: the files of this machine, or NARs for missing paths.
    fn make(&self, materials: &Materials, out: &mut dyn Write) -> std::result::Result<Digest, LayerError> {
        self.with_tree(materials, &[], |tree| Ok(layer::write_hashed(&tree, out)?.1.digest))
    }

    /// Writes the layer as an EROFS image to an empty file; `false`, and nothing written, if the layer is a ready blob. Unlike
    /// its tar, the image may be read only if this succeeds.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(crate) fn write_erofs(
        &self,
        index: usize,
        materials: &Materials,
        out: &layer::erofs::ErofsFile<'_>,
    ) -> Result<bool> {
        if self.blob.is_some() || self.is_by_reference() {
            return Ok(false);
        }
        let write = |tree: Tree| layer::erofs::write_tree(&tree, &self.diff_id, out);
        let found = self.with_tree(materials, &[], write).map_err(|source| ImageError::Layer { index, source })?;
        if found == self.diff_id { Ok(true) } else { Err(self.mismatch(index, materials, self.diff_id, found)) }
    }

    /// Gives `consume` the tree of the layer and of `more` sources: store paths that the machine has as they are, the others from
    /// their NARs.
    pub(crate) fn with_tree<T>(
        &self,
        materials: &Materials,
        more: &[Source],
        consume: impl FnOnce(Tree) -> std::result::Result<T, LayerError>,
    ) -> std::result::Result<T, LayerError> {
        let mut sources: Vec<Source> = self.paths.iter().map(LayerPath::source).collect();
        let mut names = HashSet::new();
        // Otherwise files of several sources are merged, which requires files instead of NARs.
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
                source.files = SourceFiles::Nar(Arc::new(move || materials.nar(&path)));
                continue;
            }
            let fail = |error| LayerError::Nar { path: path.as_path().to_owned(), source: layer::explain_full(error) };
            let folder = match &unpacked {
                Some(folder) => folder,
                None => unpacked.insert(Scratch::create().map_err(fail)?),
            };
            let place = folder.path().join(at.to_string());
            layer::nar::unpack(materials.nar(&path).map_err(fail)?, &place).map_err(fail)?;
            source.files = SourceFiles::At(place);
        }
        sources.extend_from_slice(more);
        consume(Tree::new(&sources)?.with_mtime(self.mtime.unwrap_or(layer::MTIME)))
    }

    /// Copies the existing blob from its file, else from the registry that has it, else from a NAR.
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
        // One additional byte shows that the blob is too large.
        copy_blob(self.digest, &mut (&mut blob).take(self.size.saturating_add(1)), &mut out)?;
        Ok(out.finish().1)
    }

    /// Returns the file with the existing blob, which may be missing.
    pub fn blob_file(&self) -> Option<BlobFile> {
        self.blob.as_deref().map(|path| self.file(path))
    }

    fn file(&self, path: &Path) -> BlobFile {
        let blob_path = path.to_owned();
        BlobFile::new(path.to_owned(), (self.digest, self.size), move || open_file(&blob_path))
    }

    /// Returns the store paths of the layer whose contents do not match Nix's record.
    fn changed(&self, materials: &Materials) -> Vec<&Path> {
        let recorded = |path: &Path| materials.recorded(&StorePath::parse(path.to_str()?).ok()?);
        // NARs were checked when they were read.
        let is_changed = |path: &&Path| {
            path.exists() && recorded(path).is_some_and(|recorded| nar_digest(path).ok() != Some(recorded.digest))
        };
        self.paths.iter().map(|path| path.path.as_path()).filter(is_changed).collect()
    }

    /// Returns the contents of a layer that is made from paths.
    pub fn tree(&self) -> std::result::Result<Tree, LayerError> {
        let sources: Vec<Source> = self.paths.iter().map(LayerPath::source).collect();
        Ok(Tree::new(&sources)?.with_mtime(self.mtime.unwrap_or(layer::MTIME)))
    }
}

impl LayerPath {
    /// Whether it is a store path at its original location.
    pub fn is_in_place(&self) -> bool {
        self.options.as_ref().is_none_or(|options| options.rewrite == Rewrite::default() && options.moved.is_none())
    }

    /// Returns the path as a source of a tree.
    pub fn source(&self) -> Source {
        let options = self.options.clone().unwrap_or_default();
        let files = options.unpacked.clone().map_or_else(SourceFiles::default, SourceFiles::At);
        Source { path: self.path.clone(), files, options, follow: false }
    }

    /// Whether other files replace those of the store path.
    pub fn is_unpacked(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.unpacked.is_some())
    }
}

/// Reads the layers.json of a result of buildLayer.
pub fn open_layers(path: &Path) -> Result<Vec<RecipeLayer>> {
    let text = fs::read(path).map_err(io_error("reading", path))?;
    let layers: Option<Vec<RecipeLayer>> =
        serde_json::from_slice(&text).map_err(|source| ImageError::Parse { path: path.to_owned(), source })?;
    Ok(layers.unwrap_or_default())
}

/// Opens a file in a store path that the machine lacks, from its NAR.
fn file_of(materials: &Materials, path: &StorePath, inside: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut nar = NarReader::new(materials.nar(path)?);
    while let Some(node) = nar.next_node()? {
        if nar.path() == inside.as_os_str().as_bytes() && matches!(node, NarNode::File { .. }) {
            return Ok(Box::new(nar));
        }
    }
    let why = format!("{path} has no file {}", inside.display());
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Returns the digest of a store path as a NAR.
fn nar_digest(path: &Path) -> io::Result<Digest> {
    let mut nar = nix_nar::Encoder::new(path).map_err(io::Error::other)?;
    let mut out = Sha256Writer::new(io::sink());
    io::copy(&mut nar, &mut out)?;
    Ok(out.finish().1)
}
