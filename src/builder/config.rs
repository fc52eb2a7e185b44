//! Kind `config`: the configuration of an image as a separate store path.
//!
//! Nix scans it for references. All store paths that `config` mentions therefore become part of the image's closure,
//! although evaluation does not know them.

use std::path::Path;

use anyhow::{Context, Error, Result};
use serde_json::{Map, Value};

use super::{attributes::Attributes, programs};
use crate::terminal::note;
use crate::{
    image::recipe,
    oci::{self, Config},
};

pub fn build(attributes: &Attributes) -> Result<()> {
    let config: Map<String, Value> = attributes.request()?;
    // An error is reported before any layer is hashed.
    check(&config).context("argument config")?;
    config.values().try_for_each(check_programs).context("argument config")?;
    Ok(recipe::save_json(&config, attributes.out())?)
}

/// Refuses programs for darwin. Evaluation checks the packages of `config`, but not the context of its strings.
fn check_programs(value: &Value) -> Result<()> {
    match value {
        Value::String(text) => {
            let words = text.split(|c: char| c.is_whitespace() || ":=\"',;".contains(c));
            words.filter(|word| word.starts_with('/')).try_for_each(|word| programs::check_program(Path::new(word)))
        }
        Value::Array(values) => values.iter().try_for_each(check_programs),
        Value::Object(values) => values.values().try_for_each(check_programs),
        _ => Ok(()),
    }
}

/// Refuses values with which no container starts, and warns of keys that engines ignore.
pub fn check(config: &Map<String, Value>) -> Result<()> {
    let parsed: Config = serde_json::from_value(Value::Object(config.clone()))?;
    parsed.check().map_err(Error::msg)?;
    for warning in oci::ignored_keys(config) {
        note!("warning: {warning}");
    }
    Ok(())
}
