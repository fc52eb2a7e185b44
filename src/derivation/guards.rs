//! Limits that an image must keep, and who brought in what breaks them.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use strata::{
    closure::{Graph, StorePath, matches},
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
    /// What must not be in the image: store paths; names of store paths, with or without version; `*` stands for anything.
    forbidden_paths: Vec<String>,
}

impl Guards {
    /// Refuses an image that breaks them, with the chain of references that brought the offender in.
    pub fn check(&self, layers: &[Layer], graph: &Graph) -> Result<()> {
        let held = |layer: &Layer| -> BTreeSet<StorePath> {
            layer.paths.iter().filter_map(|held| StorePath::parse(&held.path.to_string_lossy()).ok()).collect()
        };
        let all: BTreeSet<StorePath> = layers.iter().flat_map(held).collect();
        for pattern in &self.forbidden_paths {
            let forbidden = Forbidden::parse(pattern)?;
            if let Some(found) = all.iter().find(|path| forbidden.is(path)) {
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

/// One of `forbiddenPaths`.
enum Forbidden<'a> {
    /// This store path.
    Path(&'a str),
    /// Every version of this package.
    Package(&'a str),
    /// Every store path whose name is this, with or without its hash.
    Pattern(&'a str),
}

impl<'a> Forbidden<'a> {
    fn parse(pattern: &'a str) -> Result<Self> {
        if pattern.contains('*') {
            // One that spells out where a store path lies is about its last part.
            let name = pattern.rsplit('/').next().unwrap_or(pattern);
            ensure!(
                pattern == name || pattern.strip_suffix(name).is_some_and(is_store),
                "argument forbiddenPaths: {pattern:?} matches nothing: it is compared with store paths, not with files \
                 of the image; write the name of a package, and * for anything"
            );
            return Ok(Self::Pattern(name));
        }
        if pattern.contains('/') {
            ensure!(
                StorePath::parse(pattern).is_ok(),
                "argument forbiddenPaths: {pattern:?} matches nothing: it is no store path; write the package, or its name"
            );
            return Ok(Self::Path(pattern));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte);
        ensure!(
            !pattern.is_empty() && pattern.bytes().all(is_name),
            "argument forbiddenPaths: {pattern:?} matches nothing: no store path has such a name"
        );
        Ok(Self::Package(pattern))
    }

    fn is(&self, path: &StorePath) -> bool {
        match self {
            Self::Path(forbidden) => *forbidden == path.as_str(),
            Self::Package(name) => path.name() == *name || package(path.name()) == *name,
            Self::Pattern(pattern) => {
                matches(pattern, path.name()) || matches(pattern, &format!("{}-{}", path.hash_part(), path.name()))
            }
        }
    }
}

/// Whether `directory/` is where store paths lie.
fn is_store(directory: &str) -> bool {
    let store = std::env::var("NIX_STORE").unwrap_or_else(|_| "/nix/store".to_owned());
    directory.trim_end_matches('/') == store
}

/// What of a name is no version: all before the first hyphen that no letter follows (as builtins.parseDrvName has it).
fn package(name: &str) -> &str {
    let is_version = |rest: &str| rest.bytes().next().is_some_and(|byte| !byte.is_ascii_alphabetic());
    name.match_indices('-').find(|&(at, _)| is_version(&name[at + 1..])).map_or(name, |(at, _)| &name[..at])
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

#[cfg(test)]
mod tests {
    use super::*;

    fn forbids(pattern: &str) -> bool {
        let path = StorePath::parse("/nix/store/00000000000000000000000000000000-gcc-wrapper-13.2.0-lib").unwrap();
        Forbidden::parse(pattern).unwrap().is(&path)
    }

    #[test]
    fn packages_store_paths_names_and_patterns_match() {
        let path = "/nix/store/00000000000000000000000000000000-gcc-wrapper-13.2.0-lib";
        for pattern in [
            path,
            "gcc-wrapper",
            "gcc-wrapper-13.2.0-lib",
            "gcc*",
            "*wrapper*",
            "0000*",
            "/nix/store/*-gcc-wrapper-13.2.0-lib",
            "/nix/store/0000*",
        ] {
            assert!(forbids(pattern), "{pattern}");
        }
        for pattern in ["gcc", "wrapper", "gcc-wrapper-13", "*gcc", "/nix/store/10000000000000000000000000000000-gcc"] {
            assert!(!forbids(pattern), "{pattern}");
        }
    }

    #[test]
    fn what_can_match_nothing_is_refused() {
        for pattern in ["", "/bin/sh", "/usr/*", "bin/*", "two words", "/nix/store", "gcc/"] {
            let error = Forbidden::parse(pattern).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("matches nothing"), "{pattern}: {error}");
        }
    }
}
