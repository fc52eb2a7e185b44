//! `strata verify IMAGE`

use std::{io::Write, path::PathBuf, process::ExitCode};

use super::{
    source::SourceArguments,
    trust::{self, SignedAs, Trust},
};
use crate::terminal::{self, note};
use crate::{
    image::rehash,
    oci::Reference,
    report::bytes,
    transport::{
        Location,
        registry::{Client, Purpose},
    },
};
use anyhow::{Context, Result};
use clap::Args;

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Any source of `copy`.
    image: Location,
    /// Check that the image, in a registry, is signed with this public key, as `cosign verify --key FILE` does.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Check the image against a policy: JSON, { "sbom": true, "provenance": { "builders": [URI] }, "forbiddenPaths": [NAME], "reproducedBy": { "count": N, "keys": [FILE] } }.
    #[arg(long, value_name = "FILE", requires = "key")]
    policy: Option<PathBuf>,
    /// Accept signatures under tags that name this repository instead of the image's own, as a mirror needs; any accepts all.
    #[arg(long, value_name = "HOST/NAME|any", requires = "key")]
    signed_as: Option<SignedAs>,
    /// List the attached signatures and attestations that are not valid for the image.
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    source: SourceArguments,
}

pub fn run(arguments: &VerifyArguments) -> Result<ExitCode> {
    let VerifyArguments { image, key, policy, signed_as, verbose, source } = arguments;
    let access = source.options(&[image])?;
    let mut problems = Vec::new();
    let mut checked_image = image.clone();
    if let Some(key) = key {
        let reference: Reference = trust::reference(image)?;
        let client = Client::for_purpose(Purpose::ReadOriginal, &reference, &access.registry)?;
        let checked = Trust::open(key, policy.as_deref(), signed_as.clone())?.check(&reference, &client)?;
        report_skipped(&checked.skipped, *verbose);
        problems.extend(checked.problems);
        // The checked image is hashed, even if the tag has moved since.
        checked_image = trust::pinned(&reference, checked.digest)?;
    }
    let opened = source.open_with(&checked_image, image, &access)?;
    let mut report = rehash::rehash(&opened).with_context(|| format!("verifying {image}"))?;
    // The count is that of the lines, including those about signatures.
    problems.append(&mut report.problems);
    report.problems.clone_from(&problems);
    for problem in &problems {
        note!("strata: {}", terminal::line(problem));
    }
    let signed = if key.is_some() && problems.is_empty() { ", signed" } else { "" };
    let (count, plural) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
    let (blobs, size) = (report.blobs, bytes(report.bytes));
    writeln!(terminal::stdout(), "{image}: {blobs} blobs, {size}, {count} problem{plural}{signed}")?;
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the number of skipped attachments, or with `--verbose` each of them.
fn report_skipped(skipped: &[String], verbose: bool) {
    if verbose {
        skipped.iter().for_each(|line| note!("strata: skipped {}", terminal::line(line)));
    } else if !skipped.is_empty() {
        let (count, noun) = (skipped.len(), if skipped.len() == 1 { "attachment" } else { "attachments" });
        note!("strata: skipped {count} {noun} not valid for this image; --verbose lists them");
    }
}
