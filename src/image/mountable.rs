//! The store paths of a recipe that can be mounted at their original location, with the tree of the container unchanged.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use super::{
    Image, LayerBlob, Recipe,
    error::{ImageError, Result},
    local_store,
    recipe::{LayerPath, RecipeLayer},
};
use crate::layer::{PathOptions, Source, Tree, overlay, untar::TarReader, whiteout};

/// Returns the store paths that this machine has and that can be mounted: they are unmodified, and no other layer changes a
/// file in them.
///
/// # Errors
///
/// If a layer cannot be read.
pub fn mountable(recipe: &Recipe, image: &Image) -> Result<BTreeSet<PathBuf>> {
    let store = local_store();
    let in_store = |path: &LayerPath| path.path.to_str().is_some_and(|path| store.parse(path).is_ok());
    let mut found: BTreeSet<PathBuf> = BTreeSet::new();
    let mut lowest = recipe.layers.len();
    let mut excluded: HashSet<&Path> = HashSet::new();
    for (at, layer) in recipe.layers.iter().enumerate() {
        // Files outside of the store could be private files of the user. Their layer is therefore sent only if its
        // digest is correct.
        let is_splittable = is_made(layer) && layer.paths.iter().all(|path| in_store(path) && is_present(&path.path));
        for path in &layer.paths {
            if is_splittable && is_unmodified(path) && is_directory_or_file(&path.path) {
                found.insert(path.path.clone());
                lowest = lowest.min(at);
            } else {
                excluded.insert(&path.path);
            }
        }
    }
    found.retain(|path| !excluded.contains(path.as_path()));
    for (at, layer) in recipe.layers.iter().enumerate() {
        let changed = match is_made(layer) {
            true => changed_by_paths(at, layer, &found)?,
            // Layers below belong to a base image, whose store paths have the same contents.
            false if at < lowest => continue,
            false => changed_by_blob(&image.layers[at], &found)?,
        };
        found.retain(|path| !changed.contains(path));
    }
    Ok(found)
}

/// Whether the layer is made from its paths.
pub(super) fn is_made(layer: &RecipeLayer) -> bool {
    layer.blob.is_none() && !layer.is_by_reference()
}

/// Whether the path has its original location, owners and modes.
pub(super) fn is_unmodified(path: &LayerPath) -> bool {
    path.options.as_ref().is_none_or(|options| *options == PathOptions::default())
}

fn is_present(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether the path can be mounted: mounting a symlink would mount its target.
fn is_directory_or_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir() || metadata.is_file())
}

/// Returns the store paths in `mounts` that other paths of a layer change.
fn changed_by_paths(at: usize, layer: &RecipeLayer, mounts: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let rest = layer.paths.iter().filter(|path| !mounts.contains(&path.path) && is_present(&path.path));
    // A path that keeps its location cannot change another.
    let sources: Vec<Source> = rest.filter(|path| !path.is_in_place()).map(LayerPath::source).collect();
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let tree = Tree::new(&sources).map_err(|source| ImageError::Layer { index: at + 1, source })?;
    Ok(mounts.iter().filter(|path| tree.contains(path)).cloned().collect())
}

/// Returns the store paths in `mounts` in which a blob adds or deletes files.
fn changed_by_blob(blob: &LayerBlob, mounts: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let names = blob.plain(|tar| {
        let mut names = BTreeSet::new();
        let mut reader = TarReader::new(tar);
        while let Some(entry) = reader.next_entry()? {
            let name = overlay::clean(&entry.name)?;
            if name.starts_with(b"nix") {
                names.insert(name);
            }
        }
        Ok(names)
    })?;
    Ok(mounts.iter().filter(|path| names.iter().any(|name| is_changed_by(path, name))).cloned().collect())
}

/// Whether the entry `name` changes something at or below `path`.
fn is_changed_by(path: &Path, name: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = path.as_os_str().as_bytes().strip_prefix(b"/").unwrap_or_default();
    let (directory, last) = match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (&name[..0], name),
    };
    // Everything is below the root, whose path is empty.
    let is_below = |path: &[u8], top: &[u8]| {
        path.strip_prefix(top).is_some_and(|rest| top.is_empty() || rest.is_empty() || rest[0] == b'/')
    };
    match whiteout::Marker::parse(last) {
        Some(whiteout::Marker::Opaque) => is_below(path, directory) || is_below(directory, path),
        Some(whiteout::Marker::Whiteout(gone)) => {
            let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
            let gone = [directory, separator, gone].concat();
            is_below(path, &gone) || is_below(directory, path)
        }
        // Directories above the path, which other layers have too.
        None => is_below(name, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_changes_the_store_paths_at_and_below_it() {
        let path = Path::new("/nix/store/aaa-x");
        for (name, changes) in [
            ("nix", false),
            ("nix/store", false),
            ("nix/store/aaa-x", true),
            ("nix/store/aaa-x/bin/x", true),
            ("nix/store/aaa-x2", false),
            ("nix/store/aaa", false),
            ("nix/store/.wh.aaa-x", true),
            ("nix/store/.wh.aaa-y", false),
            ("nix/store/aaa-x/.wh.bin", true),
            ("nix/.wh.store", true),
            (".wh.nix", true),
            ("nix/store/.wh..wh..opq", true),
            ("nix/store/aaa-x/bin/.wh..wh..opq", true),
            ("nix/store/aaa-y/.wh..wh..opq", false),
            (".wh..wh..opq", true),
            ("etc/.wh.x", false),
        ] {
            assert_eq!(is_changed_by(path, name.as_bytes()), changes, "{name}");
        }
    }
}
