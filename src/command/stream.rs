//! `strata stream IMAGE`

use std::{io, process::ExitCode};

use anyhow::{Result, ensure};
use strata::{sink, source::Choice};

use super::location::{Location, own_platform};

pub fn run(image: &Location, repo_tag: Option<String>) -> Result<ExitCode> {
    let (opened, choice) = image.open_local(false)?;
    let image = opened.blobs(&Choice { platform: Some(own_platform()), ..choice })?;
    if let Some(tag) = &repo_tag {
        let named = tag.rsplit_once(':').is_some_and(|(name, tag)| !name.is_empty() && !tag.contains('/'));
        ensure!(named, "--repo-tag {tag:?} has no tag; write it like name:latest");
    }
    let reference = repo_tag.as_deref().or(image.reference.as_deref());
    sink::archive::write(&image, reference, 0, io::stdout().lock()).map(drop)?;
    Ok(ExitCode::SUCCESS)
}
