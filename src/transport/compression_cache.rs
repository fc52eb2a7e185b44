//! The cache of compressed layers: digests and sizes that pushes reuse.
//!
//! `$XDG_CACHE_HOME/strata/compressed/<compression>[-<level>]/<diff_id>.json` is the blob's descriptor, and
//! `…/strata/chunked/<parameters>/<diff_id>.json` a [`Chunked`]. Files are written completely and never changed, so
//! concurrent writers do not conflict. The directories can be deleted at any time; the next push then compresses again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    files,
    image::{Chunked, ImageError, LayerBlob, recipe::save_json},
    layer::{chunked, compress::Compression},
    oci::{Descriptor, Digest},
};

/// The cache, if the machine has a directory for it.
#[derive(Clone, Debug, Default)]
pub struct CompressionCache {
    root: Option<PathBuf>,
    chunked: Option<PathBuf>,
}

impl CompressionCache {
    /// Returns the cache of the user.
    pub fn open() -> Self {
        let folder = files::cache_folder();
        let chunked = |folder: &PathBuf| folder.join("chunked").join(chunked::parameters());
        Self { chunked: folder.as_ref().map(chunked), root: folder.map(|folder| folder.join("compressed")) }
    }

    /// Returns the descriptor of the compressed layer with this diff_id, if it is cached.
    pub fn get(&self, diff_id: &Digest, compression: Compression, level: Option<i32>) -> Option<Descriptor> {
        serde_json::from_slice(&fs::read(self.path(diff_id, compression, level)?).ok()?).ok()
    }

    /// Adds a descriptor. Errors are ignored, since the cache is not needed.
    pub fn put(&self, diff_id: &Digest, compression: Compression, level: Option<i32>, descriptor: &Descriptor) {
        if let Some(path) = self.path(diff_id, compression, level) {
            save(descriptor, &path);
        }
    }

    /// Returns an uncompressed layer as zstd:chunked with the default level, from the cache or by compressing it.
    ///
    /// # Errors
    ///
    /// Those of [`Chunked::compress`].
    pub fn chunked(&self, layer: &LayerBlob) -> Result<Chunked, ImageError> {
        let path = self.chunked.as_ref().map(|folder| folder.join(format!("{}.json", layer.diff_id.hex())));
        let known = || serde_json::from_slice(&fs::read(path.as_ref()?).ok()?).ok();
        if let Some(known) = known() {
            return Ok(known);
        }
        let chunked = Chunked::compress(layer, None)?;
        if let Some(path) = &path {
            save(&chunked, path);
        }
        Ok(chunked)
    }

    fn path(&self, diff_id: &Digest, compression: Compression, level: Option<i32>) -> Option<PathBuf> {
        let level = level.map_or_else(String::new, |level| format!("-{level}"));
        let kind = match compression {
            Compression::ZstdChunked | Compression::Lazy => format!(".zst-chunked-{}", chunked::REVISION),
            other => other.suffix().to_owned(),
        };
        let name = format!("tar{kind}{level}/{}.json", diff_id.hex());
        Some(self.root.as_ref()?.join(name))
    }
}

/// Writes a file. Errors are ignored, since the cache is not needed.
fn save<T: Serialize>(document: &T, path: &Path) {
    let directory = files::directory(path);
    if fs::create_dir_all(directory).is_ok() {
        files::sweep(directory);
        let _ = save_json(document, path);
    }
}
