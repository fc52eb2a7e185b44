//! Kind `program`: a package with one script, `bin/NAME`, or the script alone.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, symlink},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::attributes::Attributes;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// `None` makes the output itself the script.
    name: Option<String>,
    /// Other names of the script in the package.
    #[serde(default)]
    aliases: Vec<String>,
    /// The whole script, with its `#!` line.
    text: String,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let Request { name, aliases, text } = attributes.request()?;
    let path = match name {
        None => attributes.out().to_owned(),
        Some(name) => {
            for name in aliases.iter().chain([&name]) {
                let plain = !name.contains('/') && !matches!(name.as_str(), "" | "." | "..");
                ensure!(plain, "attribute strata.request: {name:?} is not the name of a program");
            }
            let directory = attributes.out().join("bin");
            fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
            for alias in &aliases {
                symlink(&name, directory.join(alias)).with_context(|| format!("linking {alias}"))?;
            }
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
