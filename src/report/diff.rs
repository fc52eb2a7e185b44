//! Compares two images: the changes, and the bytes to send for the second one if the first one exists at the destination.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::PathBuf,
};

use serde::Serialize;
use serde_json::Value;

use super::{
    partial::PartialPull,
    push::{PushEstimate, PushEstimateOptions},
};
use crate::{
    closure::StorePath,
    image::{Image, ImageError},
    oci::Digest,
};

/// The differences between two images.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// The differences in store paths, if the store paths of both images are known.
    pub paths: Option<PathDiff>,
    /// The differences in layers.
    pub layers: LayerDiff,
    /// Keys of the configuration that differ.
    pub config: Vec<ConfigChange>,
    /// The blobs that a push sends to a registry that has the first image.
    pub push: PushEstimate,
    /// The bytes that a partial pull fetches if the first image exists locally. `None` if this was not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunked: Option<PartialPull>,
    /// The bytes that a load sends to a docker daemon that has the first image.
    pub load: LoadCost,
}

/// The differences in store paths.
#[derive(Debug, Default, Serialize)]
pub struct PathDiff {
    /// The store paths that only the second image has.
    pub added: Vec<StorePath>,
    /// The store paths that only the first image has.
    pub removed: Vec<StorePath>,
    /// The packages that have another version or hash in the second image.
    pub changed: Vec<Changed>,
    /// The number of store paths that both images have.
    pub kept: usize,
}

/// A package with different store paths in the two images.
#[derive(Debug, Serialize)]
pub struct Changed {
    /// The name of the package, without version.
    pub package: String,
    /// The store path in the first image.
    pub old: StorePath,
    /// The store path in the second image.
    pub new: StorePath,
}

/// The differences in layers, which are compared by diff_id.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerDiff {
    /// The number of layers of the second image that the first one has too.
    pub kept: usize,
    /// The layers that only the second image has.
    pub new: Vec<NewLayer>,
    /// The number of layers that only the first image has.
    pub gone: usize,
    /// Whether the layers that both images have are in another order, or repeated in one of them. Containers may then have other files.
    pub are_moved: bool,
}

/// A layer that only the second image has.
#[derive(Debug, Serialize)]
pub struct NewLayer {
    /// The number of the layer, counted from 1, the base.
    pub number: usize,
    /// The digest of the blob.
    pub digest: Digest,
    /// The size of the blob in bytes.
    pub size: u64,
    /// The store paths of the layer that are in no layer of the first image.
    pub paths: Vec<PathBuf>,
}

/// A changed key of the configuration.
#[derive(Debug, Serialize)]
pub struct ConfigChange {
    /// The key, for example `config.Env`.
    pub key: String,
    /// The value in the first image, or null if it has none.
    pub old: Value,
    /// The value in the second image, or null if it has none.
    pub new: Value,
}

/// The cost of loading an image into a docker daemon.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadCost {
    /// The number of layers from the base that the daemon already has.
    pub layers_present: usize,
    /// The number of bytes to stream.
    pub bytes: u64,
}

impl Diff {
    /// Compares two images. Layers that a push would compress are compressed here, because only that shows the digest of the
    /// blob. `load_size` returns the number of bytes that a load of an image streams without the given number of lowest
    /// layers.
    ///
    /// # Errors
    ///
    /// If the bytes of a layer do not match its descriptor.
    pub fn compare(
        old: &Image,
        new: &Image,
        options: &PushEstimateOptions,
        load_size: &dyn Fn(&Image, usize) -> u64,
    ) -> Result<Self, ImageError> {
        let old_diff_ids: HashSet<Digest> = old.layers.iter().map(|layer| layer.diff_id).collect();
        let new_diff_ids: HashSet<Digest> = new.layers.iter().map(|layer| layer.diff_id).collect();
        let old_paths: BTreeSet<PathBuf> = old.store_paths().into_iter().flatten().collect();
        let mut added = Vec::new();
        for ((at, layer), paths) in new.layers.iter().enumerate().zip(new.store_paths()) {
            if !old_diff_ids.contains(&layer.diff_id) {
                let paths = paths.into_iter().filter(|path| !old_paths.contains(path)).collect();
                let (digest, size) = (layer.descriptor.digest, layer.descriptor.size);
                added.push(NewLayer { number: at + 1, digest, size, paths });
            }
        }
        let common = old.layers.iter().zip(&new.layers).take_while(|(old, new)| old.diff_id == new.diff_id).count();
        Ok(Self {
            paths: diff_paths(old, new),
            layers: LayerDiff {
                kept: new.layers.len() - added.len(),
                new: added,
                gone: old.layers.iter().filter(|layer| !new_diff_ids.contains(&layer.diff_id)).count(),
                are_moved: shared(old, &new_diff_ids).ne(shared(new, &old_diff_ids)),
            },
            config: config_changes(old, new),
            push: PushEstimate::new(old, new, options)?,
            chunked: None,
            load: LoadCost { layers_present: common, bytes: load_size(new, common) },
        })
    }

    /// Returns whether containers of both images are the same.
    pub fn is_empty(&self) -> bool {
        self.layers.new.is_empty() && self.layers.gone == 0 && !self.layers.are_moved && self.config.is_empty()
    }
}

/// Returns the layers of an image that another image has too, in their order.
fn shared(image: &Image, other: &HashSet<Digest>) -> impl Iterator<Item = Digest> {
    image.layers.iter().map(|layer| layer.diff_id).filter(|diff_id| other.contains(diff_id))
}

/// Returns the store paths in the layers of an image.
fn store_paths(image: &Image) -> BTreeSet<StorePath> {
    let paths = image.store_paths().into_iter().flatten();
    paths.filter_map(|path| StorePath::parse(path.to_str()?).ok()).collect()
}

/// Compares the store paths in the layers. Returns `None` if those of an image are unknown.
pub fn diff_paths(old: &Image, new: &Image) -> Option<PathDiff> {
    let (old, new) = (store_paths(old), store_paths(new));
    if old.is_empty() || new.is_empty() {
        return None;
    }
    Some(pair_paths(&old, &new))
}

/// Compares two sets of store paths.
pub fn pair_paths(old: &BTreeSet<StorePath>, new: &BTreeSet<StorePath>) -> PathDiff {
    let mut diff = PathDiff { kept: old.intersection(new).count(), ..PathDiff::default() };
    // A package may have several store paths. The old and the new ones are paired in the order of their names.
    let mut removed: BTreeMap<&str, Vec<&StorePath>> = BTreeMap::new();
    for path in old.difference(new) {
        removed.entry(path.package()).or_default().push(path);
    }
    removed.values_mut().for_each(|paths| paths.sort_by_key(|path| path.name()));
    let mut added: Vec<&StorePath> = new.difference(old).collect();
    added.sort_by_key(|path| path.name());
    for new in added {
        match removed.get_mut(new.package()).filter(|paths| !paths.is_empty()) {
            Some(paths) => {
                let old = paths.remove(0).clone();
                diff.changed.push(Changed { package: new.package().to_owned(), old, new: new.clone() });
            }
            None => diff.added.push(new.clone()),
        }
    }
    diff.removed = removed.into_values().flatten().cloned().collect();
    diff
}

/// Returns the keys of the configuration that differ.
pub fn config_changes(old: &Image, new: &Image) -> Vec<ConfigChange> {
    let (old, new) = (flat_config(old), flat_config(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let value = |map: &BTreeMap<String, Value>, key: &String| map.get(key).cloned().unwrap_or(Value::Null);
    keys.into_iter()
        .map(|key| ConfigChange { key: key.clone(), old: value(&old, key), new: value(&new, key) })
        .filter(|change| change.old != change.new)
        .collect()
}

/// Returns the keys of the config, those of its `config` with the prefix `config.`. `rootfs` and `history` are omitted,
/// because [`LayerDiff`] describes the layers.
fn flat_config(image: &Image) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    let Ok(Value::Object(all)) = serde_json::from_slice(&image.config) else { return flat };
    for (key, value) in all {
        match (key.as_str(), value) {
            ("rootfs" | "history", _) => {}
            ("config", Value::Object(config)) => {
                flat.extend(config.into_iter().map(|(key, value)| (format!("config.{key}"), value)));
            }
            (_, value) => {
                flat.insert(key, value);
            }
        }
    }
    flat
}
