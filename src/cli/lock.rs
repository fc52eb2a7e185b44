//! `strata lock docker://REF`: writes the lock file of a base image, for lockedImage.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{
    access::Access,
    parse::{parse_platform, parse_reference},
};
use crate::terminal;
use crate::{
    files,
    image::Lock,
    oci::{Digest, Platform, Reference, json},
    transport::registry::{self, Client},
};
use anyhow::{Context, Result, bail};
use clap::Args;

/// Flags of lock.
#[derive(Debug, Args)]
pub struct LockArguments {
    /// The image, as docker://HOST/NAME:TAG.
    #[arg(required_unless_present = "update", conflicts_with = "update", value_parser = parse_reference)]
    reference: Option<Reference>,
    /// Write the lock file here [default: stdout].
    #[arg(short, long, value_name = "FILE", conflicts_with = "update")]
    output: Option<PathBuf>,
    /// Update this lock file, and print what changed.
    #[arg(long, value_name = "FILE")]
    update: Option<PathBuf>,
    /// Lock this platform; may be repeated [default: every platform].
    ///
    /// OS/ARCH[/VARIANT], such as linux/arm64 or linux/arm/v7.
    #[arg(long, value_name = "OS/ARCH", value_parser = parse_platform)]
    platform: Vec<Platform>,
    #[command(flatten)]
    access: Access,
}

pub fn run(arguments: &LockArguments) -> Result<ExitCode> {
    if let Some(path) = &arguments.update {
        return update(path, arguments);
    }
    let reference = arguments.reference.as_ref().context("an image is required without --update")?;
    let lock = locked(reference, &arguments.platform, arguments)?;
    match &arguments.output {
        Some(path) => save(&lock, path)?,
        None => {
            serde_json::to_writer(terminal::stdout().exact(), &lock).map_err(io::Error::from)?;
            writeln!(terminal::stdout())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn save(lock: &Lock, path: &Path) -> Result<()> {
    files::save(path, &json::to_vec(lock)).with_context(|| format!("writing {}", path.display()))
}

fn locked(parsed: &Reference, platforms: &[Platform], arguments: &LockArguments) -> Result<Lock> {
    let locking = || format!("locking {parsed}");
    let options = arguments.access.options(&[&parsed.host])?;
    let client = Client::new(parsed, &options).with_context(locking)?;
    let found = registry::read::open(client, parsed).with_context(locking)?;
    let digest = Digest::sha256(&found.root().with_context(locking)?.document().with_context(locking)?);
    let mut images = found.images().with_context(locking)?;
    // The index may also contain attestations, which have no platform.
    images.retain(|image| image.platform.os != "unknown");
    if !platforms.is_empty() {
        for platform in platforms {
            if !images.iter().any(|image| platform.is_met_by(&image.platform)) {
                bail!("{parsed} has no image for {platform}");
            }
        }
        images.retain(|image| platforms.iter().any(|platform| platform.is_met_by(&image.platform)));
    }
    Ok(Lock::new(parsed.to_string(), digest, &images)?)
}

/// Updates a lock file for its platforms.
fn update(path: &Path, arguments: &LockArguments) -> Result<ExitCode> {
    let reading = || format!("reading {}", path.display());
    let old = Lock::parse(&fs::read(path).with_context(reading)?).with_context(reading)?;
    let platforms = if arguments.platform.is_empty() { old.platforms() } else { arguments.platform.clone() };
    let reference: Reference = old.reference.parse().with_context(reading)?;
    let new = locked(&reference, &platforms, arguments)?;
    let mut out = terminal::stdout();
    if new == old {
        writeln!(out, "{}: unchanged, {}", old.reference, old.digest)?;
        return Ok(ExitCode::SUCCESS);
    }
    save(&new, path)?;
    writeln!(out, "{}: {} -> {}", old.reference, old.digest, new.digest)?;
    let layers = |lock: &Lock, platform: &Platform| -> BTreeSet<Digest> {
        lock.image(platform).map(|image| image.layers.iter().map(|layer| layer.digest).collect()).unwrap_or_default()
    };
    for platform in new.platforms() {
        let (before, after) = (layers(&old, &platform), layers(&new, &platform));
        let (added, removed) = (after.difference(&before).count(), before.difference(&after).count());
        let kept = after.len() - added;
        writeln!(out, "{platform}: {added} layers added, {removed} removed, {kept} the same")?;
    }
    Ok(ExitCode::SUCCESS)
}
