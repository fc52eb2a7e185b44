//! From a closure to hashed layers: what every kind that groups store paths shares.

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::log;
use crate::{
    closure::{Graph, Plan, Popularity, StorePath},
    image::{self, Layer, LayerPath},
    layer::{self, Options, Perm, Rewrite, Tree},
    oci::History,
};

/// How store paths become layers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Grouping {
    /// At most this many layers are made.
    max_layers: usize,
    /// Store paths that go elsewhere in the image.
    #[serde(default)]
    rewrites: Vec<PathRewrite>,
    /// Owners and modes.
    #[serde(default)]
    perms: Vec<PathPerm>,
    /// Store paths (of the closure) that are left out.
    #[serde(default)]
    ignore: Vec<StorePath>,
    /// buildLayer results that lie below, lowest first.
    #[serde(default)]
    layers: Vec<PathBuf>,
    /// History of each layer.
    #[serde(default)]
    metadata: History,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathRewrite {
    path: StorePath,
    regex: String,
    repl: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathPerm {
    path: StorePath,
    regex: String,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    uid: u64,
    #[serde(default)]
    gid: u64,
    #[serde(default)]
    uname: String,
    #[serde(default)]
    gname: String,
}

impl Grouping {
    /// The layers that lie below, lowest first.
    pub fn lower_layers(&self) -> Result<Vec<Layer>> {
        open_layers(&self.layers)
    }

    /// Groups the closure's paths, without those that `lower` holds with the
    /// same options, and hashes each group.
    pub fn layers(&self, graph: &Graph, lower: &[Layer]) -> Result<Vec<Layer>> {
        ensure!(self.max_layers > 0, "argument maxLayers is 0; a layer is needed to hold store paths");
        let held: HashMap<_, _> =
            lower.iter().flat_map(|layer| &layer.paths).map(|held| (held.path.as_path(), &held.options)).collect();
        let left_out =
            |path: &StorePath| self.ignore.contains(path) || held.get(path.as_path()) == Some(&&self.options(path));
        let plan = Plan::new(graph, &Popularity, self.max_layers, left_out);
        let groups: Vec<Vec<LayerPath>> =
            plan.groups.iter().map(|group| group.iter().map(|node| self.layer_path(&node.path)).collect()).collect();
        let sizes = plan.groups.iter().map(|group| group.iter().map(|node| node.nar_size).sum());
        hash(groups, sizes.collect(), lower.len(), |_| self.metadata.clone())
    }

    fn layer_path(&self, path: &StorePath) -> LayerPath {
        LayerPath { path: path.as_path().to_owned(), options: self.options(path) }
    }

    fn options(&self, path: &StorePath) -> Option<Options> {
        let perms: Vec<Perm> = self.perms.iter().filter(|perm| perm.path == *path).map(PathPerm::perm).collect();
        let rewrite = self.rewrites.iter().rfind(|rewrite| rewrite.path == *path);
        (rewrite.is_some() || !perms.is_empty()).then(|| Options {
            rewrite: rewrite.map_or_else(Rewrite::default, |rewrite| Rewrite {
                regex: rewrite.regex.clone(),
                repl: rewrite.repl.clone(),
            }),
            perms,
        })
    }
}

impl PathPerm {
    fn perm(&self) -> Perm {
        Perm {
            regex: self.regex.clone(),
            mode: self.mode.clone().unwrap_or_default(),
            uid: self.uid,
            gid: self.gid,
            uname: self.uname.clone(),
            gname: self.gname.clone(),
        }
    }
}

/// The layers of every directory with a layers.json, in order.
pub fn open_layers(directories: &[PathBuf]) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    for directory in directories {
        layers.extend(image::open_layers(&directory.join("layers.json"))?);
    }
    Ok(layers)
}

/// Hashes groups of paths, whose sizes (in bytes) are estimates, all at once.
/// The log counts layers from `below` + 1.
pub fn hash(
    groups: Vec<Vec<LayerPath>>,
    sizes: Vec<u64>,
    below: usize,
    history: impl Fn(&[LayerPath]) -> History,
) -> Result<Vec<Layer>> {
    let mut trees = Vec::with_capacity(groups.len());
    for (at, group) in groups.iter().enumerate() {
        log::layer(below + at + 1, group.iter().map(|path| path.path.as_path()));
        let sources: Vec<layer::Source> = group.iter().map(LayerPath::source).collect();
        trees.push(Tree::new(&sources)?);
    }
    let jobs: Vec<(&Tree, u64)> = trees.iter().zip(sizes).collect();
    let hashed = layer::hash_all(&jobs)?;
    let layers = groups.into_iter().zip(hashed).map(|(group, hashed)| {
        let history = history(&group);
        Layer::from_paths(group, hashed, history)
    });
    Ok(layers.collect())
}
