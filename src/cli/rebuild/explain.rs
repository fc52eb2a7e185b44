//! `strata rebuild --compare IMAGE IMAGE`: why two images of one source differ.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use serde::Serialize;

use super::{
    RebuildArguments, blobs,
    differences::{self, Difference},
    print, read_claim,
};
use crate::{
    attest::BuildClaim,
    report::{
        cause::Cause,
        contents::{FileDifference, What},
    },
    terminal::{self, line},
    transport::Location,
};

/// A reason why two images differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum Reason {
    /// They have different store paths.
    Inputs,
    /// Their provenances are about different sources, or have other versions of strata or Nix.
    Versions(String),
    /// Builds of the same store path have different results.
    Nondeterminism(Cause),
    /// Layers differ, although the contents of the store paths do not: other options, or another version of strata.
    Layers,
    /// The configuration differs.
    Config,
}

/// Compares two images.
pub fn run(arguments: &RebuildArguments, first: &Location, second: &Location) -> Result<ExitCode> {
    let source = &arguments.source;
    let [(_, one), (_, two)] = source.images(first, second)?;
    let mut reasons = BTreeSet::new();
    if let Some(key) = &arguments.key {
        let options = source.source.options(&[first, second])?;
        let claims = [read_claim(first, &one, key, &options)?, read_claim(second, &two, key, &options)?];
        reasons.extend(versions(&claims));
    }
    let mut differences = differences::compare(&one, &two)?;
    if differences.is_empty() {
        // A config determines its layers, but not that the image has their blobs.
        let first = blobs::verify(&one, &two, Some("the first"));
        let second = blobs::verify(&two, &one, Some("the second"));
        differences.extend(first.into_iter().chain(second).map(Difference::from));
    }
    reasons.extend(differences.iter().flat_map(of_difference));
    let mut out = terminal::stdout();
    if arguments.json {
        let report = serde_json::json!({ "differences": differences, "reasons": reasons });
        serde_json::to_writer_pretty(out.exact(), &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        print::list(&mut out, &differences, ["the first", "the second"])?;
        reasons.iter().try_for_each(|reason| writeln!(out, "reason: {}", reason.phrase()))?;
        if differences.is_empty() {
            writeln!(out, "equal: configuration and layers are the same")?;
        }
    }
    out.flush()?;
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Reason {
    fn phrase(&self) -> String {
        match self {
            Self::Inputs => "different inputs: the images have different store paths".to_owned(),
            Self::Versions(what) => line(what),
            Self::Nondeterminism(cause) => {
                format!("nondeterminism: builds of the same store path have different results ({})", cause.phrase())
            }
            Self::Layers => {
                "layers: other options or another version of strata made layers of the same files".to_owned()
            }
            Self::Config => "configuration".to_owned(),
        }
    }
}

/// Compares the builds that the provenances claim.
fn versions([one, two]: &[BuildClaim; 2]) -> Vec<Reason> {
    let fields = [
        ("flake", &one.flake, &two.flake),
        ("commit", &one.revision, &two.revision),
        ("derivation", &one.derivation, &two.derivation),
        ("version of strata", &one.strata_version, &two.strata_version),
        ("version of Nix", &one.nix_version, &two.nix_version),
    ];
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let different = fields.into_iter().filter(|(_, one, two)| one != two);
    different
        .map(|(name, one, two)| Reason::Versions(format!("another {name}: {}, and {}", text(one), text(two))))
        .collect()
}

fn of_difference(difference: &Difference) -> Vec<Reason> {
    let causes = |files: &[FileDifference]| -> Vec<Reason> {
        let cause = |file: &FileDifference| match file.what {
            What::Bytes { cause, .. } => cause,
            _ => Cause::Unknown,
        };
        files.iter().map(|file| Reason::Nondeterminism(cause(file))).collect()
    };
    match difference {
        Difference::Inputs(_) => vec![Reason::Inputs],
        Difference::Config(_) => vec![Reason::Config],
        Difference::StorePath { files, .. } => causes(files),
        Difference::Layer { files, .. } if !files.is_empty() => vec![Reason::Layers],
        _ => Vec::new(),
    }
}
