//! `strata pull REF DIR` and `strata manifest REF`: what pullImage's derivations and lock files need.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use strata::{
    oci::Platform,
    registry::{Client, Options, Reference},
    sink,
    source::{Choice, Remote},
};

use super::access::Access;

fn open(reference: &Reference, access: &Access) -> Result<Remote> {
    let options = Options { read_only: true, ..access.options()? };
    let client = Client::new(reference, &options).with_context(|| format!("connecting to {}", reference.host))?;
    Ok(Remote::open(client, reference)?)
}

fn choice(platform: Option<&Platform>) -> Choice {
    Choice { platform: Some(platform.cloned().unwrap_or_else(Platform::here)), ..Choice::default() }
}

/// Pulls into a directory, as `skopeo copy docker://REF dir:DIR` would.
pub fn pull(reference: &Reference, directory: &Path, platform: Option<&Platform>, access: &Access) -> Result<ExitCode> {
    let pulling = || format!("pulling {reference}");
    let image = open(reference, access)?.blobs(&choice(platform)).with_context(pulling)?;
    let digest = sink::dir::write(&image, directory).with_context(pulling)?;
    writeln!(io::stdout(), "{digest}")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the raw manifest, or the index.
pub fn manifest(reference: &Reference, index: bool, platform: Option<&Platform>, access: &Access) -> Result<ExitCode> {
    let remote = open(reference, access)?;
    let document = if index { remote.document.clone() } else { remote.manifest(&choice(platform))? };
    let mut out = io::stdout().lock();
    out.write_all(&document.bytes)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
