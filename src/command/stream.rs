//! `strata stream IMAGE`

use std::process::ExitCode;

use anyhow::{Result, ensure};
use strata::{registry::Options, sink, source::Location};

use super::substituters::SubstituterArguments;
use crate::moment::Moment;

pub fn run(image: &Location, repo_tag: Option<String>, created: Option<Moment>) -> Result<ExitCode> {
    let mut image = image.open(&SubstituterArguments::default().access(Options::default())?)?.image(None)?;
    if let Some(created) = created {
        ensure!(!image.as_is, "--created works only with an image.json");
        image = image.with_created(created.time()?)?;
    }
    if let Some(tag) = &repo_tag {
        let named = tag.rsplit_once(':').is_some_and(|(name, tag)| !name.is_empty() && !tag.contains('/'));
        ensure!(named, "--repo-tag {tag:?} has no tag; write it like name:latest");
    }
    let reference = repo_tag.as_deref().or(image.reference.as_deref());
    sink::archive::write(&image, reference, sink::archive::stdout()?).map(drop)?;
    Ok(ExitCode::SUCCESS)
}
