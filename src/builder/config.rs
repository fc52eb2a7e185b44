//! Kind `config`: the image's execution parameters as a store path of its own.
//!
//! Nix scans it for references, so everything `config` mentions becomes part of
//! the image's closure, without evaluation having to know what that is.

use anyhow::{Context, Result};
use serde_json::Value;

use super::attributes::Attributes;
use crate::{image::recipe, oci};

pub fn build(attributes: &Attributes) -> Result<()> {
    let config: Value = attributes.request()?;
    // Found here, a mistake costs no hashing.
    serde_json::from_value::<oci::Config>(config.clone()).context("argument config")?;
    Ok(recipe::save_json(&config, attributes.out())?)
}
