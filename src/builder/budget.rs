//! Kind `budget`: a check that an image is within its budget. The output is an empty file.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::attributes::Attributes;
use crate::{
    report::budget::{self, Budgets, SizeReport},
    transport,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    image: PathBuf,
    budget: PathBuf,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let image = transport::open(&request.image)
        .and_then(|opened| opened.image(None))
        .with_context(|| format!("argument image: {}", request.image.display()))?;
    let text = fs::read(&request.budget).context("reading the argument budget")?;
    let budgets: Budgets = serde_json::from_slice(&text).context("argument budget contains no budgets")?;
    let (name, sizes) = (budget::name(&image), SizeReport::measure(&image));
    let Some(allowed) = budgets.images.get(name) else {
        bail!("argument budget has no entry for {name}; `strata budget IMAGE FILE --update` adds it")
    };
    let excess = sizes.excess(allowed);
    ensure!(
        excess.is_empty(),
        "{name} exceeds its budget:\n  {}\n`strata budget IMAGE FILE --update` accepts the new sizes, \
         `strata explain --cut IMAGE` lists references to remove",
        excess.join("\n  ")
    );
    File::create_new(attributes.out()).with_context(|| format!("writing {}", attributes.out().display()))?;
    Ok(())
}
