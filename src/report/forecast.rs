//! What pulls in parts fetch of zstd:chunked layers after updates.
//!
//! ```text
//! an update of a path    its files; the hashes of all that change with it: its own, and those of what references it;
//!                        the table of every layer that has one of them
//! a mass rebuild         every hash, and every table
//! ```
//!
//! An update counts as often as the path's weight says, as in [`Costs`](crate::closure::Costs); of the path itself
//! everything is new, and of what references it nothing but hashes. Whoever pulls has the image before. Requests,
//! headers, manifest and config come on top.

use std::thread;

use rayon::prelude::*;
use serde::Serialize;

use super::dissect::{Dissected, Hashes};
use crate::{
    closure::{Graph, Weights},
    image::{ImageError, LayerBlob},
    layer::{self, Files, PathOptions, Source, Tree},
    oci::Digest,
};

/// What is fetched of an image, in bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Of all layers, by who has none of them.
    pub size: u64,
    /// How many of them are tables and tar-split's data.
    pub tables: u64,
    /// After an update, on average.
    pub expected: f64,
    /// After an update that gives every store path another hash.
    pub rebuild: u64,
    /// The same of each layer, base first.
    pub layers: Vec<LayerForecast>,
}

/// What is fetched of a layer, in bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerForecast {
    /// By who has nothing of it.
    pub size: u64,
    /// How many of them are its table and tar-split's data.
    pub tables: u64,
    /// After an update, on average.
    pub expected: f64,
    /// After an update that gives every store path another hash.
    pub rebuild: u64,
}

/// What is fetched of a plan's layers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlanForecast {
    /// After an update, on average.
    pub expected: f64,
    /// After an update that gives every store path another hash.
    pub rebuild: u64,
}

impl Forecast {
    /// Of an image with these layers, whose closure is `graph`.
    ///
    /// # Errors
    ///
    /// When a layer's bytes are not on this machine, or not what the image says of them.
    pub fn of(layers: &[LayerBlob], graph: &Graph, weights: &Weights) -> Result<Self, ImageError> {
        let hashes = Hashes::of(graph);
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let layers: Vec<Dissected> = layers
            .iter()
            .filter(|layer| !layer.elsewhere)
            .map(|layer| Dissected::of_layer(layer, &hashes, threads))
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
        let sum = |of: fn(&LayerForecast) -> u64| layers.iter().map(of).sum();
        Ok(Self {
            size: sum(|layer| layer.size),
            tables: sum(|layer| layer.tables),
            expected: layers.iter().map(|layer| layer.expected).sum(),
            rebuild: sum(|layer| layer.rebuild),
            layers,
        })
    }
}

/// The store paths of a closure, each as a layer of its own: what any grouping of them costs.
#[derive(Debug)]
pub struct Paths {
    /// One for each node.
    layers: Vec<Dissected>,
    /// What the table of every layer has besides its store paths.
    fixed: u64,
    updates: Updates,
}

impl Paths {
    /// Those of `graph`, which have to be on this machine.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub fn of(graph: &Graph, weights: &Weights) -> Result<Self, ImageError> {
        let hashes = Hashes::of(graph);
        let dissect = |index: usize, sources: &[Source]| {
            let fail = |source| ImageError::Layer { index, source };
            let tree = Tree::new(sources).map_err(fail)?;
            let write = |out: &mut dyn std::io::Write| layer::write(&tree, out).map(drop).map_err(fail);
            Dissected::of_tar(Digest::of(b""), &hashes, 1, write)
        };
        let one = |(at, node): (usize, &crate::closure::Node)| {
            let path = node.path.as_path().to_owned();
            dissect(at + 1, &[Source { path, files: Files::InPlace, options: PathOptions::default(), follow: false }])
        };
        let layers = graph.nodes().par_iter().enumerate().map(one).collect::<Result<_, _>>()?;
        Ok(Self { layers, fixed: dissect(0, &[])?.tables, updates: Updates::new(graph, weights) })
    }

    /// What is fetched where these are the layers.
    pub fn forecast(&self, groups: &[Vec<usize>]) -> PlanForecast {
        let tables: Vec<u64> = groups
            .iter()
            .map(|group| self.fixed + group.iter().map(|&at| self.layers[at].tables - self.fixed).sum::<u64>())
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

/// What changes together, and how often.
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

    /// What an update of each node makes of `fetched`, by weight.
    fn average(&self, fetched: impl Fn(&[bool], usize) -> u64) -> f64 {
        let total = self.weights.iter().sum::<u64>().max(1) as f64;
        let mut sum = 0.0;
        for (node, &weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
            let mut changed = vec![false; self.weights.len()];
            let mut left = vec![node];
            while let Some(at) = left.pop() {
                if !std::mem::replace(&mut changed[at], true) {
                    left.extend(&self.referrers[at]);
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

    /// A library, a program that references it, data that nobody references; each with a version and a digit of its hash.
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

        /// Library and program in one layer, data in another.
        fn layers(&self) -> Vec<LayerBlob> {
            [&[0, 1][..], &[2]].into_iter().map(|held| self.layer(held)).collect()
        }

        fn layer(&self, held: &[usize]) -> LayerBlob {
            let mut held = held.to_vec();
            held.sort_by_key(|&at| self.path(at));
            let mut tar = TarWriter::new(Vec::new());
            for at in held {
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
            let digest = Digest::of(&tar);
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

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 0.02 * other
    }

    #[test]
    fn forecasts_equal_measured_pulls() {
        let old = Closure([(1, b'1'), (2, b'2'), (3, b'3')]);
        // Of the library and all above, of the program, of the data: other contents of one, other hashes of all.
        let updates = [
            Closure([(4, b'a'), (2, b'b'), (3, b'3')]),
            Closure([(1, b'1'), (4, b'b'), (3, b'3')]),
            Closure([(1, b'1'), (2, b'2'), (4, b'c')]),
        ];
        let fetched = |new: &Closure| PartialPull::of(&old.layers(), &new.layers(), None).unwrap().bytes as f64;
        let each: Vec<f64> = updates.iter().map(fetched).collect();
        for (weights, expected) in [([1, 1, 1], each.iter().sum::<f64>() / 3.0), ([0, 5, 0], each[1])] {
            let names = NAMES.iter().zip(weights).map(|(name, weight)| ((*name).to_owned(), weight));
            let weights = Weights { roots: None, names: names.collect::<BTreeMap<_, _>>() };
            let forecast = Forecast::of(&old.layers(), &old.graph(), &weights).unwrap();
            assert!(close(forecast.expected, expected), "{forecast:?}, but pulls fetch {each:?}");
        }
        let rebuilt = fetched(&Closure([(1, b'a'), (2, b'b'), (3, b'c')]));
        let forecast = Forecast::of(&old.layers(), &old.graph(), &Weights::default()).unwrap();
        assert!(close(forecast.rebuild as f64, rebuilt), "{forecast:?}, but a pull fetches {rebuilt}");
        assert!(forecast.rebuild * 20 < forecast.size);
    }
}
