//! Kind `files`: a few small files and links as a package.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::attributes::Attributes;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The target of each link, by its relative path.
    #[serde(default)]
    links: BTreeMap<String, String>,
    /// The text of each file, by its relative path.
    #[serde(default)]
    texts: BTreeMap<String, String>,
    #[serde(default)]
    directories: Vec<String>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let out = attributes.out();
    let place = |name: &str| {
        let plain = !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        ensure!(plain, "attribute strata.request: {name:?} is not a relative path without . and ..");
        let path = out.join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).with_context(|| format!("creating {name}"))?;
        Ok(path)
    };
    for (name, target) in &request.links {
        symlink(target, place(name)?).with_context(|| format!("linking {name}"))?;
    }
    for (name, text) in &request.texts {
        fs::write(place(name)?, text).with_context(|| format!("writing {name}"))?;
    }
    for name in &request.directories {
        fs::create_dir_all(place(name)?).with_context(|| format!("creating {name}"))?;
    }
    Ok(())
}
