//! One image, layer by layer: what is in it, why it lies together, how likely and how dear it is to be sent again.

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

/// How many of the biggest paths are named.
const BIGGEST: usize = 10;

/// Everything there is to say of an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `name:tag`, where it has a name.
    pub reference: Option<String>,
    /// Of its manifest.
    pub digest: Digest,
    /// Bytes of all layers.
    pub size: u64,
    /// Base first.
    pub layers: Vec<LayerExplanation>,
    /// Store paths in more than one layer.
    pub duplicates: Vec<Duplicate>,
    /// The biggest store paths.
    pub biggest: Vec<PathSize>,
    /// The references whose removal saves most, where that was asked for and references are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuts: Option<Vec<CutCandidate>>,
    /// What pulls in parts fetch, where that was asked for and references are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunked: Option<Forecast>,
    /// What an update sends; `None` where the image does not say what its store paths reference.
    pub cost: Option<ImageCost>,
}

/// One layer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerExplanation {
    /// Counted from 1, the base.
    pub number: usize,
    /// Of its blob.
    pub digest: Digest,
    /// Bytes of its blob.
    pub size: u64,
    /// Its blob's media type.
    pub media_type: String,
    /// How it came to be, as the history has it.
    pub history: String,
    /// Its store paths.
    pub paths: Vec<PathSize>,
    /// How likely an update changes it, from 0 to 1.
    pub chance: Option<f64>,
    /// Bytes of it that an update sends on average.
    pub expected_cost: Option<f64>,
    /// Of the bytes that are sent when it changes, how many really changed, from 0 to 1: near 1, its paths belong
    /// together.
    pub cohesion: Option<f64>,
}

/// A store path and its size.
#[derive(Clone, Debug, Serialize)]
pub struct PathSize {
    /// The path.
    pub path: PathBuf,
    /// Bytes, where they are known.
    pub size: Option<u64>,
}

/// A store path in more than one layer.
#[derive(Debug, Serialize)]
pub struct Duplicate {
    /// The path.
    pub path: PathBuf,
    /// The layers' numbers.
    pub layers: Vec<usize>,
}

/// What an update of the image sends on average, in bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageCost {
    /// To a registry, which keeps layers one by one.
    pub expected: f64,
    /// To docker, which keeps them as chains.
    pub chained: f64,
    /// The least that any grouping sends.
    pub floor: f64,
    /// Layers that these numbers leave out, because nothing is known of their store paths: those of a base image, say.
    pub without_layers: usize,
}

impl Explanation {
    /// Adds the sizes of store paths that no closure says, as the layers hold them.
    pub fn add_sizes(&mut self, sizes: &HashMap<&Path, u64>) {
        for path in self.layers.iter_mut().flat_map(|layer| &mut layer.paths) {
            path.size = path.size.or_else(|| sizes.get(path.path.as_path()).copied());
        }
        self.biggest = biggest(&self.layers);
    }
}

/// The biggest store paths of all layers.
fn biggest(layers: &[LayerExplanation]) -> Vec<PathSize> {
    let mut biggest: Vec<PathSize> =
        layers.iter().flat_map(|layer| &layer.paths).filter(|path| path.size.is_some()).cloned().collect();
    biggest.sort_by(|one, two| two.size.cmp(&one.size).then(one.path.cmp(&two.path)));
    biggest.dedup_by(|one, two| one.path == two.path);
    biggest.truncate(BIGGEST);
    biggest
}

/// Explains an image; `weights` say how often paths change.
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

/// What the history says of a layer; its list of store paths is told elsewhere.
fn step(step: &History) -> String {
    match (&step.created_by, &step.comment) {
        (command, _) if !command.is_empty() => command.clone(),
        (_, comment) if comment.starts_with(HISTORY_PREFIX) => String::new(),
        (_, comment) => comment.clone(),
    }
}

/// The nodes of a layer's paths.
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
