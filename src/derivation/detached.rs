//! Kind `detached`: a recipe that Nix finds no reference in.

use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;

use super::attributes::Attributes;
use strata::image::Image;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The image.json.
    recipe: PathBuf,
    /// What has it in the store, to name in messages: whoever copies that copies all that the image needs.
    output: PathBuf,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let Request { recipe, output } = attributes.request()?;
    Ok(Image::open(&recipe)?.save_detached(&output, attributes.out())?)
}
