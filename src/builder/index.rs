//! Kind `image-index`: the result of buildIndex, an index of recipes.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::attributes::Attributes;
use crate::{
    closure::StorePath,
    image::{
        Recipe,
        recipe::{RecipeList, save_json},
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The recipes by system.
    images: BTreeMap<String, PathBuf>,
    name: String,
    /// The hash part of the output path if it is `None`.
    tag: Option<String>,
    annotations: BTreeMap<String, String>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let mut platforms: BTreeMap<String, String> = BTreeMap::new();
    for (system, path) in &request.images {
        let platform = Recipe::open(path).with_context(|| format!("argument images, {system}"))?.platform();
        let expected = architecture(system);
        ensure!(
            expected.is_none_or(|expected| expected == platform.architecture),
            "argument images: the image of {system} is for {platform}; build it with the packages of {system}"
        );
        if let Some(other) = platforms.insert(platform.to_string(), system.clone()) {
            bail!("argument images: {other} and {system} are both for {platform}; keep one of them");
        }
    }
    let tag = match request.tag {
        Some(tag) => tag,
        None => StorePath::parse(&attributes.out().to_string_lossy())?.hash_part().to_owned(),
    };
    let list = RecipeList::new(request.images.into_values().collect(), request.name, tag, request.annotations);
    Ok(save_json(&list, attributes.out())?)
}

/// Returns OCI's name of the architecture of a Nix system, or `None` for systems that are not in this list.
fn architecture(system: &str) -> Option<&'static str> {
    Some(match system.split_once('-')?.0 {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i686" => "386",
        "armv5tel" | "armv6l" | "armv7l" => "arm",
        "riscv64" => "riscv64",
        "powerpc64le" => "ppc64le",
        "s390x" => "s390x",
        "loongarch64" => "loong64",
        "mips64el" => "mips64le",
        _ => return None,
    })
}
