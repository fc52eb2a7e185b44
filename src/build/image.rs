//! Kind `image`: buildImage's result, image.json.

use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;

use super::{attributes::Attributes, config, grouping::Grouping};
use crate::{closure::StorePath, image::Image, oci::Timestamp};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    grouping: Grouping,
    /// The result of kind `config`.
    config: PathBuf,
    arch: String,
    created: Timestamp,
    name: String,
    /// `None` stands for the hash part of the output path.
    tag: Option<String>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let mut layers = request.grouping.lower_layers()?;
    let own = request.grouping.layers(&attributes.closure()?, &layers)?;
    layers.extend(own);
    let config = config::open(&request.config)?;
    let mut image = Image::new(config, request.arch, Some(request.created), layers);
    image.name = Some(request.name);
    image.tag = Some(match request.tag {
        Some(tag) => tag,
        None => StorePath::parse(&attributes.out().to_string_lossy())?.hash_part().to_owned(),
    });
    Ok(image.save(attributes.out())?)
}
