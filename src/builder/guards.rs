//! `maxSize`, `maxLayerSize` and `forbiddenPaths`: limits of an image. Errors show the references that led to an
//! offending path.

use std::{collections::BTreeSet, env};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    closure::{Graph, PackagePattern, StoreDir, StorePath},
    image::recipe::RecipeLayer,
    report::bytes,
};

/// The limits of an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Guards {
    /// Maximum size of all layers together, in uncompressed bytes.
    max_size: Option<u64>,
    /// Maximum size of each layer, in uncompressed bytes.
    max_layer_size: Option<u64>,
    /// Patterns of store paths that must not be in the image ([`PackagePattern`]).
    forbidden_paths: Vec<String>,
}

impl Guards {
    /// Errors if the image exceeds a limit. The error shows the chain of references to the offending path.
    pub fn check(&self, layers: &[RecipeLayer], graph: &Graph) -> Result<()> {
        let store_paths = |layer: &RecipeLayer| -> BTreeSet<StorePath> {
            layer
                .paths
                .iter()
                .filter_map(|layer_path| StorePath::parse(&layer_path.path.to_string_lossy()).ok())
                .collect()
        };
        let all: BTreeSet<StorePath> = layers.iter().flat_map(store_paths).collect();
        let store = env::var_os("NIX_STORE").map(StoreDir::new).unwrap_or_default();
        for pattern in &self.forbidden_paths {
            let forbidden = PackagePattern::parse(pattern, &store).context("argument forbiddenPaths")?;
            if let Some(found) = all.iter().find(|path| forbidden.is_match(path)) {
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
                "argument maxSize: the image has {}, {} more than {}; the biggest store paths are{}",
                bytes(total),
                bytes(total - limit),
                bytes(limit),
                biggest(graph, &all)
            );
        }
        for (at, layer) in layers.iter().enumerate() {
            if let Some(limit) = self.max_layer_size.filter(|&limit| layer.size > limit) {
                bail!(
                    "argument maxLayerSize: layer {} has {}, {} more than {}; its biggest store paths are{}",
                    at + 1,
                    bytes(layer.size),
                    bytes(layer.size - limit),
                    bytes(limit),
                    biggest(graph, &store_paths(layer))
                );
            }
        }
        Ok(())
    }
}

/// Returns the chain of references from a root of the closure to `path`, one per line.
fn chain(graph: &Graph, path: &StorePath) -> String {
    let node = graph.nodes().iter().position(|node| node.path == *path);
    // Layers of other tools list their paths, but not the references between them.
    let Some(node) = node else { return format!("\n  └ {path}") };
    let line = |(depth, &at): (usize, &usize)| format!("\n{:depth$}  └ {}", "", graph.nodes()[at].path);
    graph.chain_to(node).iter().enumerate().map(line).collect()
}

/// Returns the three biggest of `paths`, each with its chain of references.
fn biggest(graph: &Graph, paths: &BTreeSet<StorePath>) -> String {
    let mut nodes: Vec<_> = graph.nodes().iter().filter(|node| paths.contains(&node.path)).collect();
    nodes.sort_by_key(|node| std::cmp::Reverse(node.nar_size));
    nodes.iter().take(3).map(|node| format!("\n{}:{}", bytes(node.nar_size), chain(graph, &node.path))).collect()
}
