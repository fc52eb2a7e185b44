//! Budgets: how big an image and its packages may be, kept beside the code.
//!
//! ```json
//! { "images": { "hello": { "size": 33000000, "packages": { "glibc": 31000000, "hello": 230000 } } } }
//! ```
//!
//! Images go by their names without tags; packages are store paths without hashes and versions, their sizes those of
//! their NARs, all in bytes. An image of which the sizes of store paths are unknown has a size alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{closure::StorePath, image::Image};

/// What images without a name go by.
const NAMELESS: &str = "image";

/// All budgets of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// By the images' names.
    pub images: BTreeMap<String, Budget>,
}

/// One image's sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Bytes of all layers.
    pub size: u64,
    /// Bytes of each package.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages: BTreeMap<String, u64>,
}

/// What an image's budget goes by: its name without a tag.
pub fn name(image: &Image) -> &str {
    let reference = image.reference.as_deref().unwrap_or(NAMELESS);
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

impl Budget {
    /// The sizes that an image has.
    pub fn of(image: &Image) -> Self {
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

    /// What is more than `allowed`, a line each; none where everything is within.
    pub fn excess(&self, allowed: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut more = |what: &str, size: u64, allowed: u64| {
            if size > allowed {
                lines.push(format!("{what} has {size} bytes, {} more than {allowed}", size - allowed));
            }
        };
        more("the image", self.size, allowed.size);
        for (package, &size) in &self.packages {
            if let Some(&allowed) = allowed.packages.get(package) {
                more(package, size, allowed);
            }
        }
        // A budget of the whole alone does not care what of.
        if !allowed.packages.is_empty() {
            let new = self.packages.iter().filter(|(package, _)| !allowed.packages.contains_key(*package));
            lines.extend(new.map(|(package, &size)| format!("{package} is new, {size} bytes")));
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

    fn budget(size: u64, packages: &[(&str, u64)]) -> Budget {
        Budget { size, packages: packages.iter().map(|&(name, size)| (name.to_owned(), size)).collect() }
    }

    #[test]
    fn every_excess_is_reported() {
        let allowed = budget(100, &[("glibc", 60), ("hello", 30)]);
        assert!(allowed.excess(&allowed).is_empty());
        assert!(budget(90, &[("glibc", 50)]).excess(&allowed).is_empty());
        assert_eq!(
            budget(120, &[("gcc", 10), ("glibc", 61)]).excess(&allowed),
            ["the image has 120 bytes, 20 more than 100", "glibc has 61 bytes, 1 more than 60", "gcc is new, 10 bytes"]
        );
        assert!(budget(100, &[("gcc", 10)]).excess(&budget(100, &[])).is_empty());
    }
}
