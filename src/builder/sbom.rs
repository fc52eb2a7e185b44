//! Kind `sbom`: the SBOM of an image.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::attributes::Attributes;
use crate::{
    attest::sbom::{About, Bom, SbomFormat},
    closure::StorePath,
    image::recipe::write_whole,
    transport,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    /// An image of any kind. Images that strata built are given as recipes.
    image: PathBuf,
    format: SbomFormat,
    /// The attributes of the packages that the expression refers to, as far as evaluation knows them.
    packages: Vec<StorePackage>,
}

/// A package, and its metadata.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorePackage {
    /// The store paths of all outputs.
    pub paths: Vec<String>,
    pub about: About,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let mut about = BTreeMap::new();
    for package in request.packages {
        for path in package.paths {
            about.insert(StorePath::parse(&path)?, package.about.clone());
        }
    }
    let image = transport::open(&request.image)?.image(None)?;
    let bom = Bom::new(&image, &about).with_context(|| format!("the image {}", request.image.display()))?;
    Ok(write_whole(&bom.write(request.format), attributes.out())?)
}
