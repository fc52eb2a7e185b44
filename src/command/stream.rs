//! `strata stream IMAGE`

use std::{io, path::Path, process::ExitCode};

use anyhow::{Result, ensure};
use strata::{Image, sink};

pub fn run(path: &Path, repo_tag: Option<String>) -> Result<ExitCode> {
    let image = Image::open(path)?;
    if let Some(tag) = &repo_tag {
        let named = tag.rsplit_once(':').is_some_and(|(name, tag)| !name.is_empty() && !tag.contains('/'));
        ensure!(named, "--repo-tag {tag:?} has no tag; write it like name:latest");
    }
    let reference = repo_tag.or_else(|| image.reference());
    sink::archive::write(&image, reference.as_deref(), io::stdout().lock()).map(drop)?;
    Ok(ExitCode::SUCCESS)
}
