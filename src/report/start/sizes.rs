//! The sizes of the store paths of an image.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt, path::Path};

use crate::{
    closure::{Graph, StorePath},
    image::MergedFiles,
};

/// The sizes of store paths in bytes, and of all other files.
pub(super) struct Sizes {
    store_paths: HashMap<String, u64>,
    others: u64,
}

impl Sizes {
    /// Measures the files of an image. `closure` has the sizes that Nix recorded.
    pub fn new(files: &MergedFiles, closure: Option<&Graph>) -> Self {
        let mut sizes = Self { store_paths: HashMap::new(), others: 0 };
        for (package, size) in files.sizes() {
            match package {
                Some(package) => *sizes.store_paths.entry(package.to_string_lossy().into_owned()).or_default() += size,
                None => sizes.others += size,
            }
        }
        for path in files.local_store_paths() {
            let name = path.to_string_lossy().into_owned();
            let recorded = closure.and_then(|closure| closure.get(&StorePath::parse(&name).ok()?));
            let size = recorded.map_or_else(|| disk_size(path), |node| node.nar_size);
            sizes.store_paths.insert(name, size);
        }
        sizes
    }

    /// Returns the size of a store path, if it is known.
    pub fn of_path(&self, path: &str) -> Option<u64> {
        self.store_paths.get(path).copied()
    }

    /// Returns the size of all files.
    pub fn total(&self) -> u64 {
        self.others + self.store_paths.values().sum::<u64>()
    }
}

/// Returns the size of the files at and below a path, without those that cannot be read.
fn disk_size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    match metadata.is_dir() {
        true => fs::read_dir(path).into_iter().flatten().flatten().map(|entry| disk_size(&entry.path())).sum(),
        false => metadata.size(),
    }
}
