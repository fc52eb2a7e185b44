//! Kind `detached`: a recipe that Nix finds no reference in.

use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;

use super::attributes::Attributes;
use crate::image::Recipe;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The image.json.
    recipe: PathBuf,
    /// The store path with the recipe, for messages: a copy of its closure has all that the image needs.
    output: PathBuf,
    /// The image's, where the recipe is not what is named after its hash.
    tag: String,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let Request { recipe, output, tag } = attributes.request()?;
    let mut image = Recipe::open(&recipe)?;
    image.tag = Some(tag);
    Ok(image.save_detached(&output, attributes.out())?)
}
