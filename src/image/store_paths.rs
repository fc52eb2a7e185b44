//! The store paths in each layer of an image, as far as its recipe or its history lists them.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Image, LayerBlob};
use crate::{closure::StorePath, oci::History};

/// The prefix of history comments that list the store paths of a layer. dockerTools and makeContainerImage write them.
pub const HISTORY_PREFIX: &str = "store paths: ";

impl Image {
    /// Returns the store paths of each layer, base first. They come from the recipe, or else from the history, in the format of
    /// dockerTools and makeContainerImage. The list is empty if they are unknown.
    pub fn store_paths(&self) -> Vec<Vec<PathBuf>> {
        let history = self.layer_history();
        let from_history = |at: usize| history.get(at).map(|step| parse_comment(&step.comment)).unwrap_or_default();
        let paths = |(at, layer): (usize, &LayerBlob)| match layer.paths.as_slice() {
            [] => from_history(at),
            paths => paths.to_vec(),
        };
        self.layers.iter().enumerate().map(paths).collect()
    }

    /// Returns the store paths of the closure, or of the layers if the closure is unknown.
    pub(crate) fn known_store_paths(&self) -> BTreeSet<StorePath> {
        match &self.closure {
            Some(closure) => closure.nodes().iter().map(|node| node.path.clone()).collect(),
            None => {
                let listed = self.store_paths().into_iter().flatten();
                listed.filter_map(|path| StorePath::parse(path.to_str()?).ok()).collect()
            }
        }
    }

    /// Returns the history of each layer, base first, or an empty list if the history does not match the layers.
    pub fn layer_history(&self) -> Vec<History> {
        let Ok(config) = self.parse_config() else { return Vec::new() };
        let steps: Vec<History> = config.history.into_iter().filter(|step| !step.empty_layer).collect();
        if steps.len() == self.layers.len() { steps } else { Vec::new() }
    }
}

/// Parses `store paths: ['/nix/store/…', '/nix/store/…']`, a list as Python prints it.
fn parse_comment(comment: &str) -> Vec<PathBuf> {
    let Some(list) = comment.strip_prefix(HISTORY_PREFIX) else { return Vec::new() };
    let parts = list.split(['\'', '"']).filter(|part| StorePath::parse(part).is_ok());
    parts.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_paths_are_parsed_from_comments_of_the_history() {
        let (one, two) = (format!("/nix/store/{}-a", "a".repeat(32)), format!("/nix/store/{}-b", "b".repeat(32)));
        let paths = [PathBuf::from(&one), PathBuf::from(&two)];
        assert_eq!(parse_comment(&format!("store paths: ['{one}', '{two}']")), paths);
        assert!(parse_comment(&format!("RUN cp '{one}' /")).is_empty());
        assert!(parse_comment("store paths: ['/etc', 'x']").is_empty());
    }
}
