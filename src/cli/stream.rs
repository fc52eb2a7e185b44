//! `strata stream IMAGE`

use std::{collections::HashSet, process::ExitCode};

use super::substituters::SubstituterArguments;
use crate::{
    builder::creation_time::CreationTime,
    oci::name::TaggedName,
    transport::{Location, archive, registry::Options},
};
use anyhow::{Context, Result, ensure};

pub fn run(image: &Location, repo_tag: Option<String>, created: Option<CreationTime>) -> Result<ExitCode> {
    let mut image = image.open(&SubstituterArguments::default().access(Options::default())?)?.image(None)?;
    if let Some(created) = created {
        ensure!(!image.as_is, "--created works only with an image.json");
        image = image.with_created(created.time()?)?;
    }
    if let Some(tag) = &repo_tag {
        let named = tag.rsplit_once(':').is_some_and(|(name, tag)| !name.is_empty() && !tag.contains('/'));
        ensure!(named, "--repo-tag {tag:?} has no tag; write it like name:latest");
        tag.parse::<TaggedName>().with_context(|| format!("--repo-tag {tag}"))?;
    }
    let reference = repo_tag.as_deref().or(image.reference.as_deref());
    archive::write(&*archive::for_docker(&image, &HashSet::new())?, reference, archive::stdout()?).map(drop)?;
    Ok(ExitCode::SUCCESS)
}
