//! The strategies that `layering` of the Nix functions and `plan --strategy` select.

use std::{fs, path::Path};

use crate::closure::{Auto, Pipeline, Popularity, Strategy, Transfer, Weights};
use crate::terminal::note;
use anyhow::{Context, Result, bail, ensure};

/// Returns the strategy of this name, or the layeringPipeline in a file. With `debug`, the pipeline logs each step.
pub fn parse_strategy(name: &str, weights: &Weights, debug: bool) -> Result<Box<dyn Strategy>> {
    if name != "transfer" {
        uniform(weights, name)?;
    }
    Ok(match name {
        "popularity" => Box::new(Popularity),
        "auto" => Box::new(Auto),
        "transfer" => Box::new(Transfer { weights: weights.clone(), ..Transfer::default() }),
        file if Path::new(file).is_file() => {
            let text = fs::read(file).with_context(|| format!("reading {file}"))?;
            let steps =
                serde_json::from_slice(&text).with_context(|| format!("{file} contains no layeringPipeline"))?;
            parse_pipeline(&steps, weights, debug)?
        }
        other => bail!(
            "argument layering: {other:?} is unknown; known are popularity, auto, transfer, and JSON files of a \
             layeringPipeline"
        ),
    })
}

/// Returns the steps of a layeringPipeline.
pub fn parse_pipeline(steps: &serde_json::Value, weights: &Weights, debug: bool) -> Result<Box<dyn Strategy>> {
    uniform(weights, "a layeringPipeline")?;
    let pipeline = Pipeline::parse(steps)?;
    Ok(Box::new(if debug { pipeline.with_log(|line| note!("{line}")) } else { pipeline }))
}

fn uniform(weights: &Weights, strategy: &str) -> Result<()> {
    ensure!(weights.is_uniform(), "argument weights is for layering = \"transfer\"; {strategy} ignores them");
    Ok(())
}
