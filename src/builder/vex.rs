//! Kind `vex`: an OpenVEX document about the packages of an image, from their patches and `meta.knownVulnerabilities`.
//!
//! Its statements are about packages alone, because the digest of the image is not known before a push. `strata copy --vex FILE`
//! adds them to the document of the image.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{attributes::Attributes, sbom::StorePackage};
use crate::{
    attest::vex::{self, AUTHOR, Vex},
    closure::StorePath,
    image::recipe::write_whole,
    transport,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    /// As in the request of `sbom`.
    image: PathBuf,
    packages: Vec<Patched>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patched {
    package: StorePackage,
    /// The files of its patches.
    patches: Vec<String>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let image = transport::open(&request.image)?.image(None)?;
    let reading = || format!("the image {}", request.image.display());
    let mut vex = Vex::for_packages(&image, AUTHOR).with_context(reading)?;
    let included: BTreeSet<StorePath> = image.known_store_paths();
    for Patched { package, patches } in &request.packages {
        let paths: Vec<StorePath> =
            package.paths.iter().map(|path| StorePath::parse(path)).collect::<Result<_, _>>()?;
        let Some(first) = paths.first() else { continue };
        let patches = vex::read(first, patches.iter().map(String::as_str));
        for path in paths.iter().filter(|path| included.contains(path)) {
            vex.add(&vex::Package::new(path, patches.clone(), Some(&package.about)));
        }
    }
    let mut bytes = serde_json::to_vec_pretty(&vex.openvex())?;
    bytes.push(b'\n');
    Ok(write_whole(&bytes, attributes.out())?)
}
