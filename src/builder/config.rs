//! Kind `config`: the image's execution parameters as a store path of its own.
//!
//! Nix scans it for references, so everything `config` mentions becomes part of
//! the image's closure, without evaluation having to know what that is.

use anyhow::{Context, Error, Result};
use serde_json::{Map, Value};

use super::attributes::Attributes;
use crate::terminal::note;
use crate::{
    image::recipe,
    oci::{self, Config},
};

pub fn build(attributes: &Attributes) -> Result<()> {
    let config: Map<String, Value> = attributes.request()?;
    // Found here, a mistake costs no hashing.
    check(&config).context("argument config")?;
    Ok(recipe::save_json(&config, attributes.out())?)
}

/// Refuses what no container starts with, and warns of keys that engines ignore.
pub fn check(config: &Map<String, Value>) -> Result<()> {
    let parsed: Config = serde_json::from_value(Value::Object(config.clone()))?;
    parsed.check().map_err(Error::msg)?;
    for warning in oci::ignored_keys(config) {
        note!("warning: {warning}");
    }
    Ok(())
}
