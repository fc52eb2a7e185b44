//! Budgets: the maximum sizes of images and their packages, in a file that is kept with the code.
//!
//! ```json
//! { "images": { "hello": { "size": 33000000, "packages": { "glibc": 31000000, "hello": 230000 } } } }
//! ```
//!
//! The keys of `images` are names without tags. The keys of `packages` are the names of store paths without hashes and
//! versions, and their values are the sizes of NARs. All sizes are in bytes. If the sizes of the store paths of an image are
//! unknown, its budget has no packages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bytes;
use crate::{closure::StorePath, image::Image};

/// The key of images without a name.
const NAMELESS: &str = "image";

/// The budgets of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// The budgets by the names of the images.
    pub images: BTreeMap<String, SizeReport>,
}

/// The sizes of an image and its packages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeReport {
    /// The size of all layers in bytes.
    pub size: u64,
    /// The size of each package in bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages: BTreeMap<String, u64>,
}

/// Returns the key of the budget of an image: its name without a tag.
pub fn name(image: &Image) -> &str {
    let reference = image.reference.as_deref().unwrap_or(NAMELESS);
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

impl SizeReport {
    /// Measures the sizes of an image.
    pub fn measure(image: &Image) -> Self {
        let mut packages = BTreeMap::new();
        if let Some(graph) = image.closure.as_deref() {
            let mut paths: Vec<StorePath> = image.store_paths().into_iter().flatten().filter_map(parse).collect();
            paths.sort_unstable();
            paths.dedup();
            for path in paths {
                if let Some(node) = graph.get(&path) {
                    *packages.entry(path.package().to_owned()).or_default() += node.nar_size;
                }
            }
        }
        Self { size: image.layers.iter().map(|layer| layer.descriptor.size).sum(), packages }
    }

    /// Returns a line for each size that exceeds `allowed`.
    pub fn excess(&self, allowed: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut compare = |name: &str, size: u64, allowed: u64| {
            if size > allowed {
                let excess = bytes(size - allowed);
                lines.push(format!("{name} has {}, {excess} more than {}", bytes(size), bytes(allowed)));
            }
        };
        compare("the image", self.size, allowed.size);
        for (package, &size) in &self.packages {
            if let Some(&allowed) = allowed.packages.get(package) {
                compare(package, size, allowed);
            }
        }
        // A budget without packages limits only the size of the image.
        if !allowed.packages.is_empty() {
            let new = self.packages.iter().filter(|(package, _)| !allowed.packages.contains_key(*package));
            lines.extend(new.map(|(package, &size)| format!("{package} is new, {}", bytes(size))));
        }
        lines
    }
}

fn parse(path: std::path::PathBuf) -> Option<StorePath> {
    StorePath::parse(path.to_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(size: u64, packages: &[(&str, u64)]) -> SizeReport {
        SizeReport { size, packages: packages.iter().map(|&(name, size)| (name.to_owned(), size)).collect() }
    }

    #[test]
    fn every_excess_is_reported() {
        let allowed = budget(100, &[("glibc", 60), ("hello", 30)]);
        assert!(allowed.excess(&allowed).is_empty());
        assert!(budget(90, &[("glibc", 50)]).excess(&allowed).is_empty());
        assert_eq!(
            budget(120, &[("gcc", 10), ("glibc", 61)]).excess(&allowed),
            ["the image has 120 B, 20 B more than 100 B", "glibc has 61 B, 1 B more than 60 B", "gcc is new, 10 B"]
        );
        assert!(budget(100, &[("gcc", 10)]).excess(&budget(100, &[])).is_empty());
    }
}
