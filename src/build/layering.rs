//! Which strategy groups a closure, as `layering`, `weights` and `previous` say.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    closure::{Auto, Graph, Plan, Popularity, Stable, StorePath, Strategy, Transfer, Weights},
    image::Image,
};

/// How a closure becomes groups.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Layering {
    /// `popularity` (also where nothing is said), `auto` or `transfer`.
    strategy: Option<String>,
    /// How often paths change; for `transfer`.
    weights: Weights,
    /// An older image.json, whose layers are kept where they can be.
    previous: Option<PathBuf>,
}

impl Layering {
    /// Groups `graph` into at most `max_layers` layers, without what `left_out` answers for.
    pub fn plan<'a>(
        &self,
        graph: &'a Graph,
        max_layers: usize,
        left_out: impl Fn(&StorePath) -> bool,
    ) -> Result<Plan<'a>> {
        let strategy = strategy(self.strategy.as_deref().unwrap_or("popularity"), &self.weights)?;
        let Some(path) = &self.previous else {
            return Ok(Plan::new(graph, strategy.as_ref(), max_layers, left_out));
        };
        let previous = previous(path).context("argument previous")?;
        Ok(Plan::new(graph, &Stable { previous: &previous, inner: strategy.as_ref() }, max_layers, left_out))
    }
}

/// The strategy of this name.
pub fn strategy(name: &str, weights: &Weights) -> Result<Box<dyn Strategy>> {
    ensure!(
        weights.is_uniform() || name == "transfer",
        "argument weights is for layering = \"transfer\"; {name} does not look at them"
    );
    Ok(match name {
        "popularity" => Box::new(Popularity),
        "auto" => Box::new(Auto),
        "transfer" => Box::new(Transfer { weights: weights.clone() }),
        other => bail!("argument layering: {other:?} is unknown; known are popularity, auto and transfer"),
    })
}

/// The layers of an older image that are made from store paths.
fn previous(path: &Path) -> Result<Vec<Vec<StorePath>>> {
    let image = Image::open(path)?;
    let paths = |layer: &crate::image::Layer| -> Vec<StorePath> {
        layer.paths.iter().filter_map(|path| StorePath::parse(&path.path.to_string_lossy()).ok()).collect()
    };
    Ok(image.layers.iter().map(paths).filter(|layer| !layer.is_empty()).collect())
}
