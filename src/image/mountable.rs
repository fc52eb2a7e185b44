//! The store paths of a recipe that can be mounted at their original location, with the tree of the container unchanged.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use tar::EntryType;

use super::{
    Image, LayerBlob, Recipe,
    error::{ImageError, Result},
    local_store,
    recipe::{LayerPath, RecipeLayer},
};
use crate::layer::{
    PathOptions, Source, Tree,
    overlay::{LayerEffect, LayerLinks},
    untar::TarReader,
};

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
    let changed = blob.plain(|tar| {
        let mut changed = BTreeSet::new();
        let mut reader = TarReader::new(tar);
        let mut links = LayerLinks::default();
        while let Some(entry) = reader.next_entry()? {
            if let Some(effect) = links.place(&entry)? {
                let is_directory = entry.kind == EntryType::Directory;
                changed.extend(mounts.iter().filter(|path| is_changed_by(path, &effect, is_directory)));
            }
        }
        Ok(changed)
    })?;
    Ok(changed.into_iter().cloned().collect())
}

/// Whether an entry changes something at or below `path`.
fn is_changed_by(path: &Path, effect: &LayerEffect, is_directory: bool) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = path.as_os_str().as_bytes().strip_prefix(b"/").unwrap_or_default();
    // Everything is below the root, whose path is empty.
    let is_below = |path: &[u8], top: &[u8]| {
        path.strip_prefix(top).is_some_and(|rest| top.is_empty() || rest.is_empty() || rest[0] == b'/')
    };
    match effect {
        LayerEffect::Opaque(place) | LayerEffect::Whiteout(place) => is_below(path, place) || is_below(place, path),
        // Other layers have the directories above the path, too.
        LayerEffect::At(place) => is_below(place, path) || (!is_directory && is_below(path, place)),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::oci::{Descriptor, Digest, descriptor::media_type};

    /// Whether a layer with these entries, in which links have targets, changes the store path.
    fn is_changed(entries: &[(&str, EntryType, &str)]) -> bool {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind, target) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(0);
            match target.is_empty() {
                true => tar.append_data(&mut header, name, io::empty()).unwrap(),
                false => tar.append_link(&mut header, name, target).unwrap(),
            }
        }
        let tar = tar.into_inner().unwrap();
        let digest = Digest::sha256(&tar);
        let descriptor = Descriptor::new(media_type::LAYER_TAR, digest, tar.len() as u64);
        let blob = LayerBlob::new(descriptor, digest, move || Ok(Box::new(io::Cursor::new(tar.clone()))));
        let mounts = BTreeSet::from([PathBuf::from("/nix/store/aaa-x")]);
        !changed_by_blob(&blob, &mounts).unwrap().is_empty()
    }

    #[test]
    fn an_entry_changes_the_store_paths_at_and_below_it() {
        for (name, changes) in [
            ("nix/", false),
            ("nix/store/", false),
            ("nix", true),
            ("nix/store/aaa-x/", true),
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
            let kind = if name.ends_with('/') { EntryType::Directory } else { EntryType::Regular };
            assert_eq!(is_changed(&[(name, kind, "")]), changes, "{name}");
        }
        let link = ("link", EntryType::Symlink, "nix/store/aaa-x");
        assert!(is_changed(&[link, ("link/file", EntryType::Regular, "")]));
        assert!(!is_changed(&[link, ("other/file", EntryType::Regular, "")]));
    }
}
