//! What layers compressed to, remembered between pushes.
//!
//! `$XDG_CACHE_HOME/strata/compressed/<compression>[-<level>]/<diff_id>.json` is the
//! blob's descriptor. Files are written whole and never changed, so writers do
//! not disturb each other; deleting the folder costs time, nothing else.

use std::{fs, path::PathBuf};

use crate::{
    files,
    image::save_json,
    layer::compress::Compression,
    oci::{Descriptor, Digest},
};

/// The cache, if the machine has a place for it.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    root: Option<PathBuf>,
}

impl Cache {
    /// The user's cache.
    pub fn of_user() -> Self {
        Self { root: files::cache_folder().map(|folder| folder.join("compressed")) }
    }

    /// What the layer with this diff_id compressed to, if it ever was.
    pub fn get(&self, diff_id: &Digest, compression: Compression, level: Option<i32>) -> Option<Descriptor> {
        serde_json::from_slice(&fs::read(self.path(diff_id, compression, level)?).ok()?).ok()
    }

    /// Remembers; a cache that cannot be written is not a reason to fail.
    pub fn put(&self, diff_id: &Digest, compression: Compression, level: Option<i32>, descriptor: &Descriptor) {
        let Some(path) = self.path(diff_id, compression, level) else { return };
        let directory = files::directory(&path);
        if fs::create_dir_all(directory).is_ok() {
            files::sweep(directory);
            let _ = save_json(descriptor, &path);
        }
    }

    fn path(&self, diff_id: &Digest, compression: Compression, level: Option<i32>) -> Option<PathBuf> {
        let level = level.map_or_else(String::new, |level| format!("-{level}"));
        let kind = match compression {
            Compression::ZstdChunked => ".zst-chunked",
            other => other.suffix(),
        };
        let name = format!("tar{kind}{level}/{}.json", diff_id.hex());
        Some(self.root.as_ref()?.join(name))
    }
}
