//! The arguments `layering`, `weights` and `previous`: the choice of the layering strategy.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{log, strategy};
use crate::terminal::note;
use crate::{
    closure::{Graph, Node, Plan, Stable, StorePath, Strategy, Transfer, Weights},
    image::{Image, MergedFiles, Recipe, recipe::RecipeLayer},
    oci::Config,
    report::{bytes, start::Start},
};

/// How a closure is grouped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Layering {
    /// `popularity` (the default), `auto`, `transfer`, or dockerTools' layeringPipeline as a list of steps or a JSON
    /// file.
    strategy: serde_json::Value,
    /// Whether the store paths that the start of a container needs have layers of their own, for `transfer`.
    separate_start: bool,
    /// How often paths change, for `transfer`.
    weights: Weights,
    /// An older image.json, whose layers are kept as far as possible.
    previous: Option<PathBuf>,
    /// A JSON file with a list of store paths for each layer. It replaces the strategy.
    layers_file: Option<PathBuf>,
    /// Whether the log describes each step.
    debug: bool,
}

/// The parts of an image that determine what the start of a container needs.
#[derive(Clone, Copy, Debug)]
pub struct StartFiles<'a> {
    pub config: &'a Config,
    /// The layers below those that are planned.
    pub lower: &'a [RecipeLayer],
    /// The packages whose files are at the root of the image.
    pub at_root: &'a [PathBuf],
}

impl StartFiles<'_> {
    /// Returns the store paths that the start needs.
    fn store_paths(&self, graph: &Graph) -> Result<BTreeSet<StorePath>> {
        let lower = Recipe::new(self.config.clone(), String::new(), None, self.lower.to_vec());
        let files = MergedFiles::read(&Image::from_recipe(&lower))?;
        let paths = graph.nodes().iter().map(|node| node.path.as_path().to_owned());
        let files = files.with_store_paths(paths, self.at_root.iter().cloned());
        Ok(Start::new(self.config, &files, Some(graph))?.store_paths().collect())
    }
}

impl Layering {
    /// Groups `graph` into at most `max_layers` layers, without the paths for which `left_out` is true. `start` is `None` if the
    /// configuration is unknown.
    pub fn plan<'a>(
        &self,
        graph: &'a Graph,
        max_layers: usize,
        start: Option<StartFiles<'_>>,
        left_out: impl Fn(&StorePath) -> bool,
    ) -> Result<Plan<'a>> {
        let strategy = match (self.separate_start, start) {
            (false, _) => self.strategy()?,
            (true, Some(start)) => {
                self.separating(start.store_paths(graph).context("argument layering: separateStart")?)?
            }
            (true, None) => bail!(
                "argument layering: separateStart is for functions with a configuration, such as buildImage; remove it from \
                 buildLayer"
            ),
        };
        let plan = match (&self.layers_file, &self.previous) {
            (Some(path), _) => listed(path, graph, left_out).context("argument layersFile")?,
            (None, None) => Plan::new(graph, strategy.as_ref(), max_layers, left_out),
            (None, Some(path)) => {
                let previous = previous(path).context("argument previous")?;
                Plan::new(graph, &Stable { previous: &previous, inner: strategy.as_ref() }, max_layers, left_out)
            }
        };
        if self.debug {
            let count = plan.groups.len();
            for (at, group) in plan.groups.iter().enumerate() {
                let size = bytes(group.iter().map(|node| node.nar_size).sum());
                let paths = log::list(group.iter().map(|node| node.path.as_path()));
                note!("layer {} of {count}: {} store paths ({size}): {paths}", at + 1, group.len());
            }
        }
        Ok(plan)
    }

    /// Returns the strategy that gives these store paths layers of their own.
    fn separating(&self, start: BTreeSet<StorePath>) -> Result<Box<dyn Strategy>> {
        ensure!(
            self.strategy.as_str() == Some("transfer"),
            "argument layering: separateStart is for the strategy transfer; remove it, or choose this strategy"
        );
        if self.debug {
            note!("the start needs {}", log::list(start.iter().map(StorePath::as_path)));
        }
        Ok(Box::new(Transfer { weights: self.weights.clone(), start }))
    }

    fn strategy(&self) -> Result<Box<dyn Strategy>> {
        match &self.strategy {
            serde_json::Value::Null => strategy::parse_strategy("popularity", &self.weights, self.debug),
            serde_json::Value::String(name) => strategy::parse_strategy(name, &self.weights, self.debug),
            steps => strategy::parse_pipeline(steps, &self.weights, self.debug),
        }
    }
}

/// Returns the layers that a file lists. Each path of the closure must be in exactly one of them, and no other path may
/// be listed. Paths that are left out here may be missing. (nix2container, pull request 220)
fn listed<'a>(file: &Path, graph: &'a Graph, left_out: impl Fn(&StorePath) -> bool) -> Result<Plan<'a>> {
    let text = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let lists: Vec<Vec<StorePath>> = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a list of lists of store paths", file.display()))?;
    let mut rest: HashMap<&StorePath, &Node> = graph.nodes().iter().map(|node| (&node.path, node)).collect();
    let mut groups = Vec::new();
    for (number, list) in (1..).zip(&lists) {
        ensure!(!list.is_empty(), "list {number} of {} is empty", file.display());
        let mut group = Vec::new();
        for path in list {
            let Some(node) = rest.remove(path) else {
                let known = graph.nodes().iter().any(|node| node.path == *path);
                bail!(
                    "list {number} has {path}, which is {}",
                    if known { "listed already" } else { "not in the closure" }
                );
            };
            if !left_out(path) {
                group.push(node);
            }
        }
        groups.extend(Some(group).filter(|group| !group.is_empty()));
    }
    let missing = graph.nodes().iter().map(|node| &node.path).find(|path| rest.contains_key(path) && !left_out(path));
    if let Some(path) = missing {
        bail!("no list of {} has {path}, which is in the closure", file.display());
    }
    Ok(Plan { groups })
}

/// Returns the store paths of each layer of an older image.
fn previous(path: &Path) -> Result<Vec<Vec<StorePath>>> {
    // The recipe may be in a directory.
    let image = if path.is_dir() { Recipe::open(path.join("image.json"))? } else { Recipe::open(path)? };
    let paths = |layer: &crate::image::recipe::RecipeLayer| -> Vec<StorePath> {
        layer.paths.iter().filter_map(|path| StorePath::parse(&path.path.to_string_lossy()).ok()).collect()
    };
    Ok(image.layers.iter().map(paths).filter(|layer| !layer.is_empty()).collect())
}
