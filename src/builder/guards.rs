//! `maxSize`, `maxLayerSize` and `forbiddenPaths`: limits of an image, and the references that led to an offending path.

use std::{collections::BTreeSet, env};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    closure::{Graph, PackagePattern, StoreDir, StorePath},
    image::recipe::RecipeLayer,
};

/// What an image promises.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Guards {
    /// Bytes of all layers, uncompressed.
    max_size: Option<u64>,
    /// Bytes of each layer, uncompressed.
    max_layer_size: Option<u64>,
    /// Patterns of store paths that must not be in the image ([`PackagePattern`]).
    forbidden_paths: Vec<String>,
}

impl Guards {
    /// Refuses an image that breaks them, with the chain of references that brought the offender in.
    pub fn check(&self, layers: &[RecipeLayer], graph: &Graph) -> Result<()> {
        let held = |layer: &RecipeLayer| -> BTreeSet<StorePath> {
            layer.paths.iter().filter_map(|held| StorePath::parse(&held.path.to_string_lossy()).ok()).collect()
        };
        let all: BTreeSet<StorePath> = layers.iter().flat_map(held).collect();
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
                "argument maxSize: the image has {total} bytes, {} more than {limit}; the biggest store paths are{}",
                total - limit,
                biggest(graph, &all)
            );
        }
        for (at, layer) in layers.iter().enumerate() {
            if let Some(limit) = self.max_layer_size.filter(|&limit| layer.size > limit) {
                bail!(
                    "argument maxLayerSize: layer {} has {} bytes, {} more than {limit}; its biggest store paths are{}",
                    at + 1,
                    layer.size,
                    layer.size - limit,
                    biggest(graph, &held(layer))
                );
            }
        }
        Ok(())
    }
}

/// A chain of references, a line each, from a root of the closure to `path`.
fn chain(graph: &Graph, path: &StorePath) -> String {
    let node = graph.nodes().iter().position(|node| node.path == *path);
    // Layers from other tools list their paths, but not the references between them.
    let Some(node) = node else { return format!("\n  └ {path}") };
    let line = |(depth, &at): (usize, &usize)| format!("\n{:depth$}  └ {}", "", graph.nodes()[at].path);
    graph.chain_to(node).iter().enumerate().map(line).collect()
}

/// The three biggest of `paths`, and how each came in.
fn biggest(graph: &Graph, paths: &BTreeSet<StorePath>) -> String {
    let mut nodes: Vec<_> = graph.nodes().iter().filter(|node| paths.contains(&node.path)).collect();
    nodes.sort_by_key(|node| std::cmp::Reverse(node.nar_size));
    nodes.iter().take(3).map(|node| format!("\n{} bytes:{}", node.nar_size, chain(graph, &node.path))).collect()
}
