//! Two images: what changed, and what sending the second over the first would cost.

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

/// What differs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// Store paths, where both images say which they hold.
    pub paths: Option<PathDiff>,
    /// Layers.
    pub layers: LayerDiff,
    /// Keys of the configuration that differ.
    pub config: Vec<ConfigChange>,
    /// What a push sends where the first image is.
    pub push: PushEstimate,
    /// What a pull in parts fetches where the first image is, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunked: Option<PartialPull>,
    /// What a load sends to a docker daemon that has the first image.
    pub load: Load,
}

/// Store paths.
#[derive(Debug, Default, Serialize)]
pub struct PathDiff {
    /// Only in the second.
    pub added: Vec<StorePath>,
    /// Only in the first.
    pub removed: Vec<StorePath>,
    /// In both under one package name, with another version or hash.
    pub changed: Vec<Changed>,
    /// In both.
    pub kept: usize,
}

/// A package in both images.
#[derive(Debug, Serialize)]
pub struct Changed {
    /// Its name, without version.
    pub package: String,
    /// In the first image.
    pub old: StorePath,
    /// In the second.
    pub new: StorePath,
}

/// Layers, by content.
#[derive(Debug, Serialize)]
pub struct LayerDiff {
    /// In both.
    pub kept: usize,
    /// Only in the second.
    pub new: Vec<NewLayer>,
    /// Only in the first.
    pub gone: usize,
}

/// A layer that the first image has not.
#[derive(Debug, Serialize)]
pub struct NewLayer {
    /// Counted from 1, the base.
    pub number: usize,
    /// Of its blob.
    pub digest: Digest,
    /// Bytes of its blob.
    pub size: u64,
    /// Its store paths that the first image has nowhere.
    pub paths: Vec<PathBuf>,
}

/// A key of the configuration.
#[derive(Debug, Serialize)]
pub struct ConfigChange {
    /// `config.Env` for example.
    pub key: String,
    /// In the first image; null where it is not set.
    pub old: Value,
    /// In the second.
    pub new: Value,
}

/// A load.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Layers that are there, from the base.
    pub layers_present: usize,
    /// Bytes to stream.
    pub bytes: u64,
}

impl Diff {
    /// Compares. Layers that a push would compress are compressed here, to know their blobs; `load_size` says how many
    /// bytes a load streams of an image without that many of its lowest layers.
    ///
    /// # Errors
    ///
    /// When a layer's bytes are not what the image says of them.
    pub fn of(
        old: &Image,
        new: &Image,
        options: &PushEstimateOptions,
        load_size: &dyn Fn(&Image, usize) -> u64,
    ) -> Result<Self, ImageError> {
        let before: HashSet<Digest> = old.layers.iter().map(|layer| layer.diff_id).collect();
        let after: HashSet<Digest> = new.layers.iter().map(|layer| layer.diff_id).collect();
        let old_paths: BTreeSet<PathBuf> = old.store_paths().into_iter().flatten().collect();
        let mut added = Vec::new();
        for ((at, layer), paths) in new.layers.iter().enumerate().zip(new.store_paths()) {
            if !before.contains(&layer.diff_id) {
                let paths = paths.into_iter().filter(|path| !old_paths.contains(path)).collect();
                let (digest, size) = (layer.descriptor.digest, layer.descriptor.size);
                added.push(NewLayer { number: at + 1, digest, size, paths });
            }
        }
        let common = old.layers.iter().zip(&new.layers).take_while(|(old, new)| old.diff_id == new.diff_id).count();
        Ok(Self {
            paths: paths(old, new),
            layers: LayerDiff {
                kept: new.layers.len() - added.len(),
                new: added,
                gone: old.layers.iter().filter(|layer| !after.contains(&layer.diff_id)).count(),
            },
            config: config_changes(old, new),
            push: PushEstimate::of(old, new, options)?,
            chunked: None,
            load: Load { layers_present: common, bytes: load_size(new, common) },
        })
    }

    /// Whether the images are the same to whoever runs them.
    pub fn is_empty(&self) -> bool {
        self.layers.new.is_empty() && self.layers.gone == 0 && self.config.is_empty()
    }
}

/// The store paths that an image says it holds.
fn held(image: &Image) -> BTreeSet<StorePath> {
    let paths = image.store_paths().into_iter().flatten();
    paths.filter_map(|path| StorePath::parse(path.to_str()?).ok()).collect()
}

fn paths(old: &Image, new: &Image) -> Option<PathDiff> {
    let (before, after) = (held(old), held(new));
    if before.is_empty() || after.is_empty() {
        return None;
    }
    let mut diff = PathDiff { kept: before.intersection(&after).count(), ..PathDiff::default() };
    // The first of a package's old paths goes with the first of its new ones, in order of their names.
    let mut gone: BTreeMap<&str, Vec<&StorePath>> = BTreeMap::new();
    for path in before.difference(&after) {
        gone.entry(path.package()).or_default().push(path);
    }
    gone.values_mut().for_each(|paths| paths.sort_by_key(|path| path.name()));
    let mut came: Vec<&StorePath> = after.difference(&before).collect();
    came.sort_by_key(|path| path.name());
    for new in came {
        match gone.get_mut(new.package()).filter(|paths| !paths.is_empty()) {
            Some(paths) => {
                let old = paths.remove(0).clone();
                diff.changed.push(Changed { package: new.package().to_owned(), old, new: new.clone() });
            }
            None => diff.added.push(new.clone()),
        }
    }
    diff.removed = gone.into_values().flatten().cloned().collect();
    Some(diff)
}

fn config_changes(old: &Image, new: &Image) -> Vec<ConfigChange> {
    let (old, new) = (flat(old), flat(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let value = |map: &BTreeMap<String, Value>, key: &String| map.get(key).cloned().unwrap_or(Value::Null);
    keys.into_iter()
        .map(|key| ConfigChange { key: key.clone(), old: value(&old, key), new: value(&new, key) })
        .filter(|change| change.old != change.new)
        .collect()
}

/// The configuration's keys, those of `config` with it in front; layers and their history are told elsewhere.
fn flat(image: &Image) -> BTreeMap<String, Value> {
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
