//! Kind `layers`: buildLayer's result, a directory with layers.json.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{attributes::Attributes, grouping::Grouping};
use crate::image;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    grouping: Grouping,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let Request { grouping } = attributes.request()?;
    let lower = grouping.lower_layers()?;
    let layers = grouping.layers(&attributes.closure()?, &lower)?;
    let out = attributes.out();
    std::fs::create_dir(out).with_context(|| format!("creating {}", out.display()))?;
    Ok(image::save_json(&layers, &out.join("layers.json"))?)
}
