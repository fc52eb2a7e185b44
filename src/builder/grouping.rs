//! From a closure to hashed layers. All kinds that group store paths use this.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;

use super::{
    layering::{Layering, StartFiles},
    log, moved, programs,
    unpacked::{self, Unpacked},
    walk::walk,
};
use crate::terminal::note;
use crate::{
    closure::{Graph, StorePath},
    image::recipe::{self, LayerPath, RecipeLayer},
    layer::{self, LayerError, PathOptions, Perm, Rewrite, Tree, chunked},
    oci::{Config, History},
};

/// How store paths become layers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Grouping {
    /// The maximum number of layers.
    max_layers: usize,
    /// Which paths share a layer.
    #[serde(default)]
    layering: Layering,
    /// Store paths that have another location in the image.
    #[serde(default)]
    rewrites: Vec<PathRewrite>,
    /// Moved store paths that are at their original location, too.
    #[serde(default)]
    kept: Vec<StorePath>,
    /// Annotations of the descriptor of each layer.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    perms: Vec<PathPerm>,
    /// Archives that replace store paths, and directories that are added to store paths.
    #[serde(default)]
    unpacked: unpacked::Request,
    /// Store paths of the closure that are left out.
    #[serde(default)]
    ignore: Vec<StorePath>,
    /// Whether the layers contain only moved store paths. The other paths are in a mounted store.
    #[serde(default)]
    without_store_paths: bool,
    /// Results of buildLayer below these layers, lowest first.
    #[serde(default)]
    layers: Vec<PathBuf>,
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

/// An element of `perms`. As in nix2container, null is the same as no value, and a missing regex matches every path.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathPerm {
    path: StorePath,
    regex: Option<String>,
    mode: Option<String>,
    uid: Option<u64>,
    gid: Option<u64>,
    uname: Option<String>,
    gname: Option<String>,
}

impl Grouping {
    /// Returns the layers below, lowest first. If several of them contain the same store path, only the lowest keeps
    /// it.
    pub fn lower_layers(&self) -> Result<Vec<RecipeLayer>> {
        without_repeats(open_layers(&self.layers)?)
    }

    /// Returns the closure of this derivation and of the layers below, without paths that are left out everywhere.
    pub fn closure(&self, derivation_closure: &Graph) -> Result<Graph> {
        let mut all = vec![derivation_closure.without_roots(|path| self.ignore.contains(path))];
        for directory in &self.layers {
            let path = directory.join("closure.json");
            // Layers of nix2container have no closure.json.
            if path.exists() {
                let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                all.push(serde_json::from_slice(&text).with_context(|| format!("parsing {}", path.display()))?);
            }
        }
        Ok(Graph::union(&all))
    }

    /// Groups the closure's paths and hashes each group. Paths that `lower` contains with the same options are left
    /// out. `config` is the configuration of the image, if it is known.
    pub fn layers(&self, graph: &Graph, lower: &[RecipeLayer], config: Option<&Config>) -> Result<Vec<RecipeLayer>> {
        ensure!(self.max_layers > 0, "argument maxLayers is 0, but store paths need at least one layer");
        let existing: HashMap<_, _> = lower
            .iter()
            .flat_map(|layer| &layer.paths)
            .map(|layer_path| (layer_path.path.as_path(), &layer_path.options))
            .collect();
        let left_out = |path: &StorePath| {
            self.ignore.contains(path)
                || (self.without_store_paths && !self.rewrites.iter().any(|rewrite| rewrite.path == *path))
                || (existing.get(path.as_path()) == Some(&&self.options(path)) && !self.kept.contains(path))
        };
        if let Some(key) = self.annotations.keys().find(|key| chunked::annotation::is_ours(key)) {
            bail!("argument annotations: {key} describes a layer's table of contents, which strata writes; remove it");
        }
        let unpacked = self.unpacked.unpack(graph)?;
        unpacked.values().try_for_each(|unpacked| programs::check_root(&unpacked.files))?;
        self.check_perms(graph, &unpacked)?;
        let is_in_place = |path: &StorePath| {
            lower
                .iter()
                .flat_map(|layer| &layer.paths)
                .any(|layer_path| layer_path.path == path.as_path() && layer_path.is_in_place())
        };
        let moved = |path: &StorePath| {
            self.rewrites.iter().any(|rewrite| rewrite.path == *path) && !self.kept.contains(path) && !is_in_place(path)
        };
        moved::warn(graph, moved, &self.ignore);
        let at_root: Vec<PathBuf> = self.rewrites.iter().map(|rewrite| rewrite.path.as_path().to_owned()).collect();
        let start = config.map(|config| StartFiles { config, lower, at_root: &at_root });
        let plan = self.layering.plan(graph, self.max_layers, start, left_out)?;
        let groups: Vec<Vec<LayerPath>> = plan
            .groups
            .iter()
            .map(|group| group.iter().flat_map(|node| self.layer_paths(&node.path, &unpacked)).collect())
            .collect();
        check_roots(&groups)?;
        let sizes = plan.groups.iter().map(|group| group.iter().map(|node| node.nar_size).sum());
        let mut layers = hash(groups, sizes.collect(), lower.len(), |_| self.metadata.clone())?;
        layers.iter_mut().for_each(|layer| layer.annotations.clone_from(&self.annotations));
        Ok(layers)
    }

    /// Warns of permissions that have no effect. They are not an error: images may share a list of permissions, and
    /// mkUser of divnix/std sets some for a directory that buildEnv replaces with a link.
    fn check_perms(&self, graph: &Graph, unpacked: &HashMap<StorePath, Unpacked>) -> Result<()> {
        for (at, perm) in self.perms.iter().enumerate() {
            if !graph.nodes().iter().any(|node| node.path == perm.path) {
                note!("argument perms, element {}: {} is not among the store paths of these layers", at + 1, perm.path);
                continue;
            }
            let regex = perm.perm().regex()?;
            let mut matched = false;
            let mut look = |path: &Path| matched |= regex.is_match(path.as_os_str().as_bytes());
            match unpacked.get(&perm.path) {
                Some(unpacked) => unpacked.owners.keys().for_each(|path| look(path)),
                None => walk(perm.path.as_path(), &mut |path, _| {
                    look(path);
                    Ok(())
                })?,
            }
            if !matched {
                note!(
                    "warning: argument perms, element {}: no file of {} matches {regex:?}; it is compared with source paths, {}/bin/x for example",
                    at + 1,
                    perm.path,
                    perm.path,
                    regex = perm.regex.as_deref().unwrap_or_default(),
                );
            }
        }
        Ok(())
    }

    /// Returns the path at its location in the image, and at its original location if it is kept there.
    fn layer_paths(&self, path: &StorePath, unpacked: &HashMap<StorePath, Unpacked>) -> Vec<LayerPath> {
        let kept = LayerPath { path: path.as_path().to_owned(), options: None };
        let mut paths = vec![self.layer_path(path, unpacked)];
        paths.extend(self.kept.contains(path).then_some(kept));
        paths
    }

    fn layer_path(&self, path: &StorePath, unpacked: &HashMap<StorePath, Unpacked>) -> LayerPath {
        let mut options = self.options(path);
        if let Some(Unpacked { files, owners }) = unpacked.get(path) {
            let (unpacked, owners) = (Some(files.clone()), Some(owners.clone()));
            options = Some(PathOptions { unpacked, owners, ..options.unwrap_or_default() });
        }
        LayerPath { path: path.as_path().to_owned(), options }
    }

    fn options(&self, path: &StorePath) -> Option<PathOptions> {
        let perms: Vec<Perm> = self.perms.iter().filter(|perm| perm.path == *path).map(PathPerm::perm).collect();
        let rewrite = self.rewrites.iter().rfind(|rewrite| rewrite.path == *path);
        (rewrite.is_some() || !perms.is_empty()).then(|| PathOptions {
            rewrite: rewrite.map_or_else(Rewrite::default, |rewrite| Rewrite {
                regex: rewrite.regex.clone(),
                repl: rewrite.repl.clone(),
            }),
            perms,
            ..PathOptions::default()
        })
    }
}

impl PathPerm {
    fn perm(&self) -> Perm {
        Perm {
            regex: self.regex.clone().unwrap_or_default(),
            mode: self.mode.clone().unwrap_or_default(),
            uid: self.uid.unwrap_or_default(),
            gid: self.gid.unwrap_or_default(),
            uname: self.uname.clone().unwrap_or_default(),
            gname: self.gname.clone().unwrap_or_default(),
        }
    }
}

/// Errors if two moved store paths contain different files for one location. Within a layer, [`hash`] reports this. In
/// different layers, the upper file would silently replace the lower. Owners and modes are not compared, since those of
/// a directory may differ between layers.
fn check_roots(groups: &[Vec<LayerPath>]) -> Result<()> {
    let in_layers = groups.iter().filter(|group| group.iter().any(|path| !path.is_in_place())).count();
    if in_layers < 2 {
        return Ok(());
    }
    let moved = groups.iter().flatten().filter(|path| !path.is_in_place());
    let moved: Vec<LayerPath> = moved
        .map(|path| LayerPath {
            path: path.path.clone(),
            options: path.options.clone().map(|options| PathOptions { perms: Vec::new(), owners: None, ..options }),
        })
        .collect();
    let sources: Vec<layer::Source> = moved.iter().map(LayerPath::source).collect();
    Tree::new(&sources).map(drop).map_err(clash_of_roots)
}

fn clash_of_roots(error: LayerError) -> anyhow::Error {
    clash(error, "use `deps` instead of `copyToRoot` for one of them")
}

/// Returns `error`, with a remedy of the called function if two sources clash.
pub fn clash(error: LayerError, remedy: &str) -> anyhow::Error {
    match error {
        LayerError::Clash { .. } => anyhow!("{error}, or {remedy}"),
        _ => error.into(),
    }
}

/// Returns the layers of every directory with a layers.json, in order.
pub fn open_layers(directories: &[PathBuf]) -> Result<Vec<RecipeLayer>> {
    let mut layers = Vec::new();
    for directory in directories {
        layers.extend(recipe::open_layers(&directory.join("layers.json"))?);
    }
    Ok(layers)
}

/// Keeps each store path only in the lowest layer that contains it with the same options. Layers that lose some paths
/// are hashed again, and layers that lose all paths are removed.
fn without_repeats(layers: Vec<RecipeLayer>) -> Result<Vec<RecipeLayer>> {
    let mut holder: HashMap<(PathBuf, Option<String>), usize> = HashMap::new();
    let mut kept = Vec::with_capacity(layers.len());
    for (at, mut layer) in layers.into_iter().enumerate() {
        let before = layer.paths.len();
        layer.paths.retain(|path| {
            let key = (path.path.clone(), path.options.as_ref().map(|options| format!("{options:?}")));
            let first = *holder.entry(key).or_insert(at);
            // Paths cannot be removed from an existing blob.
            let stays = first == at || layer.blob.is_some();
            if !stays {
                note!("Leaving {} to layer {}, which holds it already", path.path.display(), first + 1);
            }
            stays
        });
        match layer.paths.len() {
            length if length == before => kept.push(layer),
            0 => {}
            _ => {
                let history = layer.history.clone();
                let hashed = hash(vec![layer.paths], vec![0], kept.len(), |_| history.clone())?;
                kept.extend(
                    hashed.into_iter().map(|hashed| RecipeLayer { annotations: layer.annotations.clone(), ..hashed }),
                );
            }
        }
    }
    Ok(kept)
}

/// Hashes all groups of paths, whose sizes (in bytes) are estimates. The log counts layers from `below` + 1.
pub fn hash(
    groups: Vec<Vec<LayerPath>>,
    sizes: Vec<u64>,
    below: usize,
    history: impl Fn(&[LayerPath]) -> History,
) -> Result<Vec<RecipeLayer>> {
    hash_at(groups, sizes, below, None, history)
}

/// The same as [`hash`], with another modification time for all files, in seconds since the epoch.
pub fn hash_at(
    groups: Vec<Vec<LayerPath>>,
    sizes: Vec<u64>,
    below: usize,
    mtime: Option<u64>,
    history: impl Fn(&[LayerPath]) -> History,
) -> Result<Vec<RecipeLayer>> {
    let mut trees = Vec::with_capacity(groups.len());
    for (at, group) in groups.iter().enumerate() {
        log::layer(below + at + 1, group.iter().map(|path| path.path.as_path()));
        let sources: Vec<layer::Source> = group.iter().map(LayerPath::source).collect();
        let tree = Tree::new(&sources).map_err(clash_of_roots)?;
        trees.push(tree.with_mtime(mtime.unwrap_or(layer::MTIME)));
    }
    let jobs: Vec<(&Tree, u64)> = trees.iter().zip(sizes).collect();
    let hashed = layer::hash_all(&jobs)?;
    let layers = groups.into_iter().zip(hashed).map(|(group, hashed)| {
        let history = history(&group);
        RecipeLayer { mtime, ..RecipeLayer::from_paths(group, hashed, history) }
    });
    Ok(layers.collect())
}
