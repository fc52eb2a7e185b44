//! Kind `config`: the image's execution parameters as a store path of its own.
//!
//! Nix scans it for references, so everything `config` mentions becomes part of
//! the image's closure, without evaluation having to know what that is.

use std::{fs::File, io::Read};

use anyhow::{Context, Error, Result, bail};
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
    config.values().try_for_each(check_programs).context("argument config")?;
    Ok(recipe::save_json(&config, attributes.out())?)
}

/// Refuses programs for darwin. Evaluation sees the packages of `config`, but not what a string was made of.
fn check_programs(value: &Value) -> Result<()> {
    match value {
        Value::String(text) => {
            text.split(|c: char| c.is_whitespace() || ":=\"',;".contains(c)).try_for_each(check_program)
        }
        Value::Array(values) => values.iter().try_for_each(check_programs),
        Value::Object(values) => values.values().try_for_each(check_programs),
        _ => Ok(()),
    }
}

fn check_program(path: &str) -> Result<()> {
    // Mach-O of 32 and 64 bits, little-endian, and files for several architectures. (Apple: mach-o/loader.h, fat.h)
    const MAGIC: [[u8; 4]; 3] = [[0xce, 0xfa, 0xed, 0xfe], [0xcf, 0xfa, 0xed, 0xfe], [0xca, 0xfe, 0xba, 0xbe]];
    let mut start = [0; 4];
    let read = path.starts_with('/').then(|| File::open(path).and_then(|mut file| file.read_exact(&mut start)));
    if matches!(read, Some(Ok(()))) && MAGIC.contains(&start) && !path.ends_with(".class") {
        bail!(
            "{path} is a program for darwin, which no Linux container can run; take it from a Linux package set, such as pkgs.pkgsLinux"
        );
    }
    Ok(())
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
