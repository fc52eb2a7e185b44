//! Which store paths each layer of an image holds, as far as the image says.

use std::path::PathBuf;

use super::{Image, LayerBlob};
use crate::{closure::StorePath, oci::History};

/// How a step of a history starts that lists a layer's store paths, in dockerTools' images and makeContainerImage's.
pub const HISTORY_PREFIX: &str = "store paths: ";

impl Image {
    /// The store paths of each layer, base first: those that it is made from, or those that its history lists, as
    /// dockerTools and makeContainerImage write it; none where neither is known.
    pub fn store_paths(&self) -> Vec<Vec<PathBuf>> {
        let history = self.layer_history();
        let listed = |at: usize| history.get(at).map(|step| listed(&step.comment)).unwrap_or_default();
        let paths = |(at, layer): (usize, &LayerBlob)| match layer.paths.as_slice() {
            [] => listed(at),
            paths => paths.to_vec(),
        };
        self.layers.iter().enumerate().map(paths).collect()
    }

    /// The history of each layer, base first; empty where the config has none, or one of other layers.
    pub fn layer_history(&self) -> Vec<History> {
        let Ok(config) = self.parse_config() else { return Vec::new() };
        let steps: Vec<History> = config.history.into_iter().filter(|step| !step.empty_layer).collect();
        if steps.len() == self.layers.len() { steps } else { Vec::new() }
    }
}

/// The paths of `store paths: ['/nix/store/…', '/nix/store/…']`, a list as Python prints it.
fn listed(comment: &str) -> Vec<PathBuf> {
    let Some(list) = comment.strip_prefix(HISTORY_PREFIX) else { return Vec::new() };
    let parts = list.split(['\'', '"']).filter(|part| StorePath::parse(part).is_ok());
    parts.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_lists_store_paths_as_python_prints_them() {
        let (one, two) = (format!("/nix/store/{}-a", "a".repeat(32)), format!("/nix/store/{}-b", "b".repeat(32)));
        let paths = [PathBuf::from(&one), PathBuf::from(&two)];
        assert_eq!(listed(&format!("store paths: ['{one}', '{two}']")), paths);
        assert!(listed(&format!("RUN cp '{one}' /")).is_empty());
        assert!(listed("store paths: ['/etc', 'x']").is_empty());
    }
}
