//! `strata stream IMAGE`: a copy to `docker-archive:-`.

use std::process::ExitCode;

use super::source::ImageArguments;
use crate::{
    builder::creation_time::CreationTime,
    image::ManifestGraph,
    transport::{Destination, Location, WriteOptions, archive},
};
use anyhow::{Context, Error, Result, ensure};

pub fn run(
    location: &Location,
    source: &ImageArguments,
    repo_tag: Option<String>,
    created: Option<CreationTime>,
) -> Result<ExitCode> {
    let mut image = source.image(location)?;
    if let Some(created) = created {
        ensure!(!image.as_is, "--created works only with an image.json");
        image = image.with_created(created.time()?)?;
    }
    if let Some(tag) = &repo_tag {
        let named = tag.rsplit_once(':').is_some_and(|(name, tag)| !name.is_empty() && !tag.contains('/'));
        ensure!(named, "--repo-tag {tag:?} has no tag; write it like name:latest");
    }
    let tag = repo_tag.unwrap_or_default();
    let destination = format!("{}:-:{tag}", archive::DOCKER.name).parse::<Destination>();
    let destination = destination.map_err(Error::msg).with_context(|| format!("--repo-tag {tag}"))?;
    destination.write(&ManifestGraph::from(image), &WriteOptions::default()).map_err(Error::from_boxed)?;
    Ok(ExitCode::SUCCESS)
}
