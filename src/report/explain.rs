//! Explains an image layer by layer: its store paths, the probability that an update changes the layer, and the bytes that
//! the update then sends.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{cut::CutCandidate, forecast::Forecast};
use crate::{
    closure::{Costs, Graph, StorePath, Weights},
    image::{HISTORY_PREFIX, Image},
    oci::{Digest, History},
};

/// The number of biggest paths to list.
const BIGGEST: usize = 10;

/// The explanation of an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The name of the image, `name:tag`.
    pub reference: Option<String>,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The size of all layers in bytes.
    pub size: u64,
    /// The layers, base first.
    pub layers: Vec<LayerExplanation>,
    /// Store paths in more than one layer.
    pub duplicates: Vec<Duplicate>,
    /// The biggest store paths.
    pub biggest: Vec<PathSize>,
    /// The references whose removal saves most. `None` if they were not requested or references are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuts: Option<Vec<CutCandidate>>,
    /// The bytes that partial pulls fetch. `None` if they were not requested or references are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunked: Option<Forecast>,
    /// The cost of an update. `None` if the references of the store paths are unknown.
    pub cost: Option<ImageCost>,
}

/// The explanation of a layer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerExplanation {
    /// The number of the layer, counted from 1, the base.
    pub number: usize,
    /// The digest of the blob.
    pub digest: Digest,
    /// The size of the blob in bytes.
    pub size: u64,
    /// The media type of the blob.
    pub media_type: String,
    /// The command or comment in the history of the image.
    pub history: String,
    /// The store paths of the layer.
    pub paths: Vec<PathSize>,
    /// The probability that an update changes the layer, from 0 to 1.
    pub chance: Option<f64>,
    /// The bytes of the layer that an update sends on average.
    pub expected_cost: Option<f64>,
    /// The part of the bytes sent because of a change that really changed, from 0 to 1. A value near 1 means that the paths
    /// of the layer usually change together.
    pub cohesion: Option<f64>,
}

/// A store path and its size.
#[derive(Clone, Debug, Serialize)]
pub struct PathSize {
    /// The store path.
    pub path: PathBuf,
    /// The size in bytes, if it is known.
    pub size: Option<u64>,
}

/// A store path in more than one layer.
#[derive(Debug, Serialize)]
pub struct Duplicate {
    /// The store path.
    pub path: PathBuf,
    /// The numbers of the layers.
    pub layers: Vec<usize>,
}

/// The bytes that an update of the image sends on average.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageCost {
    /// The bytes sent to a registry, which keeps layers one by one.
    pub expected: f64,
    /// The bytes sent to docker, which keeps chains of layers.
    pub chained: f64,
    /// A lower bound of `expected` for any distribution of the paths over layers.
    pub floor: f64,
    /// The number of layers that are not included because their store paths are unknown, such as those of a base image.
    pub without_layers: usize,
}

impl Explanation {
    /// Adds the sizes of store paths that are missing in the closure, as measured in the layers.
    pub fn add_sizes(&mut self, sizes: &HashMap<&Path, u64>) {
        for path in self.layers.iter_mut().flat_map(|layer| &mut layer.paths) {
            path.size = path.size.or_else(|| sizes.get(path.path.as_path()).copied());
        }
        self.biggest = biggest(&self.layers);
    }
}

/// Returns the biggest store paths of all layers.
fn biggest(layers: &[LayerExplanation]) -> Vec<PathSize> {
    let mut biggest: Vec<PathSize> =
        layers.iter().flat_map(|layer| &layer.paths).filter(|path| path.size.is_some()).cloned().collect();
    biggest.sort_by(|one, two| two.size.cmp(&one.size).then(one.path.cmp(&two.path)));
    biggest.dedup_by(|one, two| one.path == two.path);
    biggest.truncate(BIGGEST);
    biggest
}

/// Explains an image. `weights` are the relative frequencies of updates.
pub fn explain(image: &Image, weights: &Weights) -> Explanation {
    let graph = image.closure.as_deref();
    let costs = graph.map(|graph| Costs::new(graph, weights.node_weights(graph)));
    let size_of = |path: &PathBuf| {
        let path = StorePath::parse(path.to_str()?).ok()?;
        Some(graph?.get(&path)?.nar_size)
    };
    let history = image.layer_history();
    let mut layers = Vec::with_capacity(image.layers.len());
    let mut groups = Vec::with_capacity(image.layers.len());
    for ((at, layer), paths) in image.layers.iter().enumerate().zip(image.store_paths()) {
        let sized = |path: &PathBuf| PathSize { path: path.clone(), size: size_of(path) };
        let nodes = graph.map(|graph| nodes(graph, &paths)).unwrap_or_default();
        let known = costs.as_ref().filter(|_| !nodes.is_empty());
        let chance = known.map(|costs| costs.chance(&nodes));
        layers.push(LayerExplanation {
            number: at + 1,
            digest: layer.descriptor.digest,
            size: layer.descriptor.size,
            media_type: layer.descriptor.media_type.clone(),
            history: history.get(at).map(step).unwrap_or_default(),
            paths: paths.iter().map(sized).collect(),
            chance,
            expected_cost: chance.map(|chance| chance * layer.descriptor.size as f64),
            cohesion: known.map(|costs| cohesion(costs, graph, &nodes)),
        });
        groups.push(nodes);
    }
    Explanation {
        reference: image.reference.clone(),
        digest: image.digest(),
        size: image.layers.iter().map(|layer| layer.descriptor.size).sum(),
        duplicates: duplicates(&layers),
        biggest: biggest(&layers),
        cuts: None,
        chunked: None,
        cost: costs.filter(|_| groups.iter().any(|nodes| !nodes.is_empty())).map(|costs| {
            let cost = costs.partition(&groups);
            let without_layers = groups.iter().filter(|nodes| nodes.is_empty()).count();
            let placed: Vec<usize> = groups.concat();
            ImageCost { expected: cost.expected, chained: cost.chained, floor: costs.floor(&placed), without_layers }
        }),
        layers,
    }
}

/// Returns the command or comment of a build step. A comment with a list of store paths is omitted, because
/// [`LayerExplanation::paths`] has them.
fn step(step: &History) -> String {
    match (&step.created_by, &step.comment) {
        (command, _) if !command.is_empty() => command.clone(),
        (_, comment) if comment.starts_with(HISTORY_PREFIX) => String::new(),
        (_, comment) => comment.clone(),
    }
}

/// Returns the nodes of the store paths of a layer.
fn nodes(graph: &Graph, paths: &[PathBuf]) -> Vec<usize> {
    paths.iter().filter_map(|path| graph.position(&StorePath::parse(path.to_str()?).ok()?)).collect()
}

fn cohesion(costs: &Costs<'_>, graph: Option<&Graph>, nodes: &[usize]) -> f64 {
    let size = |at: usize| graph.map_or(0, |graph| graph.nodes()[at].nar_size) as f64;
    let total: f64 = nodes.iter().map(|&at| size(at)).sum();
    let changed: f64 = nodes.iter().map(|&at| size(at) * costs.chance(&[at])).sum();
    let sent = total * costs.chance(nodes);
    if sent > 0.0 { changed / sent } else { 1.0 }
}

fn duplicates(layers: &[LayerExplanation]) -> Vec<Duplicate> {
    let mut holders: HashMap<&PathBuf, Vec<usize>> = HashMap::new();
    for layer in layers {
        for path in &layer.paths {
            holders.entry(&path.path).or_default().push(layer.number);
        }
    }
    let repeated = holders.into_iter().filter(|(_, layers)| layers.len() > 1);
    let mut duplicates: Vec<Duplicate> =
        repeated.map(|(path, layers)| Duplicate { path: path.clone(), layers }).collect();
    duplicates.sort_by(|one, two| one.path.cmp(&two.path));
    duplicates
}
