//! `strata stream IMAGE`

use std::{
    io::{self, StdoutLock},
    process::ExitCode,
};

use anyhow::{Result, ensure};
use strata::{sink, source::Choice};

use super::location::{Location, own_platform};
use crate::derivation::Moment;

/// Bytes on their way to who reads; the most that Linux grants everybody.
#[cfg(target_os = "linux")]
const PIPE: usize = 1024 * 1024;

pub fn run(image: &Location, repo_tag: Option<String>, created: Option<Moment>) -> Result<ExitCode> {
    let (opened, choice) = image.open_local(false)?;
    let mut image = opened.blobs(&Choice { platform: Some(own_platform()), ..choice })?;
    if let Some(created) = created {
        ensure!(!image.as_is, "--created is for an image.json; other images stay as they are");
        image = image.with_created(created.time()?)?;
    }
    if let Some(tag) = &repo_tag {
        let named = tag.rsplit_once(':').is_some_and(|(name, tag)| !name.is_empty() && !tag.contains('/'));
        ensure!(named, "--repo-tag {tag:?} has no tag; write it like name:latest");
    }
    let reference = repo_tag.as_deref().or(image.reference.as_deref());
    sink::archive::write(&image, reference, 0, stdout()).map(drop)?;
    Ok(ExitCode::SUCCESS)
}

/// The standard output, ready for much: fewer switches between us and who reads.
pub fn stdout() -> StdoutLock<'static> {
    let out = io::stdout().lock();
    // What is no pipe, or may not be bigger, stays as it is.
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(&out, PIPE);
    out
}
