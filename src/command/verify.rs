//! `strata verify IMAGE`

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use strata::{
    registry::{Client, Reference},
    source::Location,
    verify,
};

use super::{access::Access, trust};

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Any source of `copy`.
    image: Location,
    /// Check that the image, in a registry, is signed with this public key, as `cosign verify --key FILE` does.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Check the image against a policy: JSON, { "sbom": true, "provenance": { "builders": [URI] }, "forbiddenPaths": [NAME] }.
    #[arg(long, value_name = "FILE", requires = "key")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

pub fn run(arguments: &VerifyArguments) -> Result<ExitCode> {
    let VerifyArguments { image, key, policy, access } = arguments;
    let mut problems = Vec::new();
    let mut meant = image.clone();
    if let Some(key) = key {
        let reference: Reference = trust::reference(image)?;
        let client = Client::new(&reference, &access.options()?)?;
        let checked = trust::check(&reference, &client, key, policy.as_deref())?;
        problems.extend(checked.problems);
        // Hash the image that was checked, even if the tag has moved since.
        meant = trust::pinned(&reference, checked.digest)?;
    }
    let opened = meant.open(&access.source()?)?;
    let report = verify::verify(&opened).with_context(|| format!("verifying {image}"))?;
    problems.extend(report.problems.iter().cloned());
    for problem in &problems {
        eprintln!("strata: {problem}");
    }
    let signed = if key.is_some() && problems.is_empty() { ", signed" } else { "" };
    writeln!(io::stdout(), "{image}: {report}{signed}")?;
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
