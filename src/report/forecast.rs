//! Forecasts the bytes that partial pulls of zstd:chunked layers fetch after updates.
//!
//! ```text
//! an update of a path    the files of the path; the chunks with its hash or the hash of a path that depends on it;
//!                        the table of contents of every layer with such a chunk
//! a mass rebuild         the chunks with any hash, and every table of contents
//! ```
//!
//! Updates are weighted by the weight of the path, as in [`Costs`](crate::closure::Costs). All files of the updated path
//! are assumed to be new; in the paths that depend on it, only hashes change. The older image is assumed to exist at the
//! destination. Requests, headers, manifest and config are not included.

use rayon::prelude::*;
use serde::Serialize;

use super::dissect::{DissectedLayer, Hashes};
use crate::{
    closure::{Graph, Weights},
    image::{ImageError, LayerBlob},
    layer::{self, PathOptions, Source, SourceFiles, Tree},
    oci::Digest,
    threads,
};

/// The bytes that pulls of an image fetch.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The size of all layers, which a first pull fetches.
    pub size: u64,
    /// The size of the tables of contents and the tar-split data, which `size` includes.
    pub tables: u64,
    /// The bytes fetched after an update, on average.
    pub expected: f64,
    /// The bytes fetched after an update that gives every store path another hash.
    pub rebuild: u64,
    /// The forecast of each layer, base first.
    pub layers: Vec<LayerForecast>,
}

/// The bytes that pulls of a layer fetch.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerForecast {
    /// The size of the layer, which a first pull fetches.
    pub size: u64,
    /// The size of the table of contents and the tar-split data, which `size` includes.
    pub tables: u64,
    /// The bytes fetched after an update, on average.
    pub expected: f64,
    /// The bytes fetched after an update that gives every store path another hash.
    pub rebuild: u64,
}

/// The bytes that pulls of the layers of a plan fetch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlanForecast {
    /// The bytes fetched after an update, on average.
    pub expected: f64,
    /// The bytes fetched after an update that gives every store path another hash.
    pub rebuild: u64,
}

impl Forecast {
    /// Forecasts pulls of an image with these layers, whose closure is `graph`.
    ///
    /// # Errors
    ///
    /// If the bytes of a layer are not on this machine, or do not match its descriptor.
    pub fn new(layers: &[LayerBlob], graph: &Graph, weights: &Weights) -> Result<Self, ImageError> {
        let hashes = Hashes::new(graph);
        let threads = threads::jobs();
        let layers: Vec<DissectedLayer> = layers
            .iter()
            .filter(|layer| !layer.elsewhere)
            .map(|layer| DissectedLayer::from_layer(layer, &hashes, threads))
            .collect::<Result<_, _>>()?;
        let updates = Updates::new(graph, weights);
        let layers: Vec<LayerForecast> = layers
            .par_iter()
            .map(|layer| {
                let fetched = |changed: &[bool], new| match layer.is_changed(changed) {
                    true => layer.tables + layer.chunks(changed, new),
                    false => 0,
                };
                LayerForecast {
                    size: layer.size,
                    tables: layer.tables,
                    expected: updates.average(|changed, new| fetched(changed, Some(new))),
                    rebuild: fetched(&updates.all(), None),
                }
            })
            .collect();
        let sum = |bytes: fn(&LayerForecast) -> u64| layers.iter().map(bytes).sum();
        Ok(Self {
            size: sum(|layer| layer.size),
            tables: sum(|layer| layer.tables),
            expected: layers.iter().map(|layer| layer.expected).sum(),
            rebuild: sum(|layer| layer.rebuild),
            layers,
        })
    }
}

/// The store paths of a closure, each dissected as a layer of its own. They suffice to forecast any plan.
#[derive(Debug)]
pub struct Paths {
    /// A layer for each node.
    layers: Vec<DissectedLayer>,
    /// The size of the table of contents and the tar-split data of a layer without store paths.
    empty_tables: u64,
    updates: Updates,
}

impl Paths {
    /// Dissects the store paths of `graph`, which must be on this machine.
    ///
    /// # Errors
    ///
    /// If a store path cannot be read.
    pub fn new(graph: &Graph, weights: &Weights) -> Result<Self, ImageError> {
        let hashes = Hashes::new(graph);
        let dissect = |index: usize, sources: &[Source]| {
            let fail = |source| ImageError::Layer { index, source };
            let tree = Tree::new(sources).map_err(fail)?;
            let write = |out: &mut dyn std::io::Write| layer::write(&tree, out).map(drop).map_err(fail);
            DissectedLayer::from_tar(Digest::sha256(b""), &hashes, 1, write)
        };
        let layer = |(at, node): (usize, &crate::closure::Node)| {
            let path = node.path.as_path().to_owned();
            dissect(
                at + 1,
                &[Source { path, files: SourceFiles::InPlace, options: PathOptions::default(), follow: false }],
            )
        };
        let layers = graph.nodes().par_iter().enumerate().map(layer).collect::<Result<_, _>>()?;
        Ok(Self { layers, empty_tables: dissect(0, &[])?.tables, updates: Updates::new(graph, weights) })
    }

    /// Forecasts pulls of a plan.
    pub fn forecast(&self, groups: &[Vec<usize>]) -> PlanForecast {
        let tables: Vec<u64> = groups
            .iter()
            .map(|group| {
                let tables = |&at: &usize| self.layers[at].tables - self.empty_tables;
                self.empty_tables + group.iter().map(tables).sum::<u64>()
            })
            .collect();
        let fetched = |changed: &[bool], new: Option<usize>| {
            let chunks =
                self.layers.iter().filter(|path| path.is_changed(changed)).map(|path| path.chunks(changed, new));
            let is_changed = |group: &[usize]| group.iter().any(|&at| self.layers[at].is_changed(changed));
            let tables = groups.iter().zip(&tables).filter(|(group, _)| is_changed(group)).map(|(_, tables)| tables);
            chunks.sum::<u64>() + tables.sum::<u64>()
        };
        PlanForecast {
            expected: self.updates.average(|changed, new| fetched(changed, Some(new))),
            rebuild: fetched(&self.updates.all(), None),
        }
    }
}

/// The referrers of each node, which change together with it, and the weights of updates.
#[derive(Debug)]
struct Updates {
    referrers: Vec<Vec<usize>>,
    weights: Vec<u64>,
}

impl Updates {
    fn new(graph: &Graph, weights: &Weights) -> Self {
        Self { referrers: graph.referrers(), weights: weights.node_weights(graph) }
    }

    fn all(&self) -> Vec<bool> {
        vec![true; self.weights.len()]
    }

    /// Returns the weighted average of `fetched` over updates of each node. `fetched` gets the nodes whose hash changes, and
    /// the updated node.
    fn average(&self, fetched: impl Fn(&[bool], usize) -> u64) -> f64 {
        let total = self.weights.iter().sum::<u64>().max(1) as f64;
        let mut sum = 0.0;
        for (node, &weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
            let mut changed = vec![false; self.weights.len()];
            let mut queue = vec![node];
            while let Some(at) = queue.pop() {
                if !std::mem::replace(&mut changed[at], true) {
                    queue.extend(&self.referrers[at]);
                }
            }
            sum += weight as f64 * fetched(&changed, node) as f64;
        }
        sum / total
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io, sync::Arc};

    use super::*;
    use crate::{
        closure::{RawNode, StoreDir},
        layer::{Header, LayerError, TarWriter},
        oci::{Descriptor, descriptor::media_type},
        report::partial::PartialPull,
    };

    /// A library, a program that references it, and data without referrers. Each has a version, and a digit that its hash
    /// consists of.
    #[derive(Clone, Copy)]
    struct Closure([(u64, u8); 3]);

    const NAMES: [&str; 3] = ["lib", "app", "data"];

    impl Closure {
        fn path(&self, at: usize) -> String {
            format!("/nix/store/{}-{}", char::from(self.0[at].1).to_string().repeat(32), NAMES[at])
        }

        fn graph(&self) -> Graph {
            let node = |at: usize| {
                let references = if at == 1 { vec![self.path(0)] } else { Vec::new() };
                RawNode::new(self.path(at), references, 1_000_000, None)
            };
            Graph::new(&StoreDir::new("/nix/store"), (0..3).map(node).collect()).unwrap()
        }

        /// Returns a layer with the library and the program, and a layer with the data.
        fn layers(&self) -> Vec<LayerBlob> {
            [&[0, 1][..], &[2]].into_iter().map(|paths| self.layer(paths)).collect()
        }

        fn layer(&self, paths: &[usize]) -> LayerBlob {
            let mut paths = paths.to_vec();
            paths.sort_by_key(|&at| self.path(at));
            let mut tar = TarWriter::new(Vec::new());
            for at in paths {
                for file in 0..30_u64 {
                    let mut content = noise(file * 4_000, self.0[at].0 * 100 + file);
                    if file % 3 == 0 && content.len() > 100 {
                        let to = [at, 0][at % 2];
                        let path = format!("{}\0{}\0", self.path(at), self.path(to));
                        content.splice(50..50 + path.len(), path.bytes());
                    }
                    let name = format!("{}/{file}", self.path(at));
                    let header = Header::file(name.as_bytes(), content.len() as u64);
                    tar.append_with(&header, |out| out.write_all(&content).map_err(LayerError::Write)).unwrap();
                }
            }
            let tar: Arc<[u8]> = tar.finish().unwrap().into();
            let digest = Digest::sha256(&tar);
            let descriptor = Descriptor::new(media_type::LAYER_TAR, digest, tar.len() as u64);
            LayerBlob::new(descriptor, digest, move || Ok(Box::new(io::Cursor::new(Arc::clone(&tar)))))
        }
    }

    fn noise(length: u64, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(&mut next).take(length as usize).collect()
    }

    fn is_close(one: f64, other: f64) -> bool {
        (one - other).abs() < 0.02 * other
    }

    #[test]
    fn forecasts_equal_measured_pulls() {
        let old = Closure([(1, b'1'), (2, b'2'), (3, b'3')]);
        // Updates of the library (which changes the hash of the program too), of the program, and of the data.
        let updates = [
            Closure([(4, b'a'), (2, b'b'), (3, b'3')]),
            Closure([(1, b'1'), (4, b'b'), (3, b'3')]),
            Closure([(1, b'1'), (2, b'2'), (4, b'c')]),
        ];
        let fetched = |new: &Closure| PartialPull::new(&old.layers(), &new.layers(), None).unwrap().bytes as f64;
        let pulls: Vec<f64> = updates.iter().map(fetched).collect();
        for (weights, expected) in [([1, 1, 1], pulls.iter().sum::<f64>() / 3.0), ([0, 5, 0], pulls[1])] {
            let names = NAMES.iter().zip(weights).map(|(name, weight)| ((*name).to_owned(), weight));
            let weights = Weights { roots: None, names: names.collect::<BTreeMap<_, _>>() };
            let forecast = Forecast::new(&old.layers(), &old.graph(), &weights).unwrap();
            assert!(is_close(forecast.expected, expected), "{forecast:?}, but pulls fetch {pulls:?}");
        }
        let rebuilt = fetched(&Closure([(1, b'a'), (2, b'b'), (3, b'c')]));
        let forecast = Forecast::new(&old.layers(), &old.graph(), &Weights::default()).unwrap();
        assert!(is_close(forecast.rebuild as f64, rebuilt), "{forecast:?}, but a pull fetches {rebuilt}");
        assert!(forecast.rebuild * 20 < forecast.size);
    }
}
