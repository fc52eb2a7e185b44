//! `strata pull REF DIR` and `strata manifest REF`: what pullImage's derivations and lock files need.

use std::{io::Write, path::Path, process::ExitCode};

use super::access::Access;
use crate::terminal::{self, note};
use crate::{
    image::{Found, Wanted},
    oci::{Digest, Index, Platform, Reference, json},
    transport::{
        dir,
        registry::{self, Client, Options, Purpose},
    },
};
use anyhow::{Context, Result};

fn open(reference: &Reference, options: &Options) -> Result<Found> {
    let client = Client::new(reference, options).with_context(|| format!("connecting to {}", reference.host))?;
    Ok(registry::read::open(client, reference)?)
}

fn wanted(platform: Option<&Platform>) -> Wanted {
    platform.map_or_else(|| Wanted::Prefer(Platform::here()), |platform| Wanted::Only(platform.clone()))
}

/// Pulls into a directory, as `skopeo copy docker://REF dir:DIR` would.
pub fn pull(reference: &Reference, directory: &Path, platform: Option<&Platform>, access: &Access) -> Result<ExitCode> {
    let pulling = || format!("pulling {reference}");
    let options = access.options(&[&reference.host])?;
    let image = open(reference, &options)?.image(&wanted(platform)).with_context(pulling)?;
    let digest = dir::write(&image, directory).with_context(pulling)?;
    writeln!(terminal::stdout(), "{digest}")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the raw manifest, or the index.
pub fn manifest(reference: &Reference, index: bool, platform: Option<&Platform>, access: &Access) -> Result<ExitCode> {
    let found = open(reference, &access.options(&[&reference.host])?)?;
    let bytes = if index { found.root()?.document()? } else { found.choose(&wanted(platform))?.0.document()? };
    let mut out = terminal::stdout();
    out.exact().write_all(&bytes)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the referrers of an image, as an index.
pub fn referrers(reference: &Reference, platform: Option<&Platform>, access: &Access) -> Result<ExitCode> {
    let options = access.options(&[&reference.host])?;
    let found = open(reference, &options)?;
    let bytes = match platform {
        Some(_) => found.choose(&wanted(platform))?.0.document()?,
        None => found.root()?.document()?,
    };
    let client = Client::for_purpose(Purpose::ReadOriginal, reference, &options)?;
    let listed = client.list_referrers(&Digest::of(&bytes))?;
    listed.malformed.iter().for_each(|why| note!("{reference}: {why}"));
    let mut out = terminal::stdout();
    out.exact().write_all(&json::to_vec(&Index::new(listed.descriptors)))?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
