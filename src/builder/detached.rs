//! Kind `detached`: a recipe in which Nix finds no references.

use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;

use super::attributes::Attributes;
use crate::image::Recipe;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    recipe: PathBuf,
    /// The store path with the recipe, for messages. A copy of its closure has everything that the image needs.
    output: PathBuf,
    /// The tag of the image, which is not derived from the hash of this output.
    tag: String,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let Request { recipe, output, tag } = attributes.request()?;
    let mut image = Recipe::open(&recipe)?;
    image.tag = Some(tag);
    Ok(image.save_detached(&output, attributes.out())?)
}
