//! Kind `program`: a package with one script, `bin/NAME`, or that script alone.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::attributes::Attributes;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// None makes the result itself the script.
    name: Option<String>,
    /// The whole script, `#!` line included.
    text: String,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let Request { name, text } = attributes.request()?;
    let path = match name {
        None => attributes.out().to_owned(),
        Some(name) => {
            let plain = !name.contains('/') && !name.is_empty();
            ensure!(plain, "attribute strata.request.name: {name:?} is no file name");
            let directory = attributes.out().join("bin");
            fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
            directory.join(name)
        }
    };
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}
