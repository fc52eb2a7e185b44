//! Limits that an image must keep, and who brought in what breaks them.

use anyhow::{Result, bail};
use serde::Deserialize;

use strata::{
    closure::{Graph, matches},
    image::Layer,
};

/// What an image promises.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Guards {
    /// Bytes of all layers, uncompressed.
    max_size: Option<u64>,
    /// Bytes of each layer, uncompressed.
    max_layer_size: Option<u64>,
    /// Names of store paths (without hash) that must not be in the image; `*` stands for anything.
    forbidden_paths: Vec<String>,
}

impl Guards {
    /// Refuses an image that breaks them, with the chain of references that brought the offender in.
    pub fn check(&self, layers: &[Layer], graph: &Graph) -> Result<()> {
        let placed = |at: &usize| {
            let path = graph.nodes()[*at].path.as_path();
            layers.iter().any(|layer| layer.paths.iter().any(|placed| placed.path == path))
        };
        let nodes: Vec<usize> = (0..graph.nodes().len()).filter(placed).collect();
        for pattern in &self.forbidden_paths {
            let name = |at: &&usize| matches(pattern, graph.nodes()[**at].path.name());
            if let Some(&found) = nodes.iter().find(name) {
                bail!(
                    "argument forbiddenPaths: {pattern:?} is in the image:{}\nremove the reference that should not be \
                     there (removeReferencesTo, another output, or disallowedReferences where it is built)",
                    chain(graph, found)
                );
            }
        }
        let total: u64 = layers.iter().map(|layer| layer.size).sum();
        if let Some(limit) = self.max_size.filter(|&limit| total > limit) {
            bail!(
                "argument maxSize: the image has {total} bytes, {} more than {limit}; the biggest store paths are{}",
                total - limit,
                biggest(graph, &nodes)
            );
        }
        for (at, layer) in layers.iter().enumerate() {
            if let Some(limit) = self.max_layer_size.filter(|&limit| layer.size > limit) {
                let own: Vec<usize> = nodes
                    .iter()
                    .copied()
                    .filter(|&node| {
                        let path = graph.nodes()[node].path.as_path();
                        layer.paths.iter().any(|placed| placed.path == path)
                    })
                    .collect();
                bail!(
                    "argument maxLayerSize: layer {} has {} bytes, {} more than {limit}; its biggest store paths are{}",
                    at + 1,
                    layer.size,
                    layer.size - limit,
                    biggest(graph, &own)
                );
            }
        }
        Ok(())
    }
}

/// A chain of references, a line each, from a root of the closure to `node`.
fn chain(graph: &Graph, node: usize) -> String {
    let steps = graph.chain_to(node);
    let line = |(depth, &at): (usize, &usize)| format!("\n{:depth$}  └ {}", "", graph.nodes()[at].path);
    steps.iter().enumerate().map(line).collect()
}

/// The three biggest of `nodes`, and how each came in.
fn biggest(graph: &Graph, nodes: &[usize]) -> String {
    let mut nodes = nodes.to_vec();
    nodes.sort_by_key(|&at| std::cmp::Reverse(graph.nodes()[at].nar_size));
    let shown = |&at: &usize| format!("\n{} bytes:{}", graph.nodes()[at].nar_size, chain(graph, at));
    nodes.iter().take(3).map(shown).collect()
}
