//! `strata sbom IMAGE` and `strata sbom diff OLD NEW`: the packages of an image.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
};

use super::source::ImageArguments;
use crate::terminal::{self, line};
use crate::{
    attest::sbom::{
        Bom, SbomFormat,
        compare::{Differences, PackageVersion},
    },
    image::Image,
    transport::Location,
};
use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SbomArguments {
    /// Any source of `copy`.
    #[arg(required = true)]
    image: Option<Location>,
    /// The format of the SBOM.
    #[arg(long, value_enum, default_value_t = FormatArgument::Cyclonedx)]
    format: FormatArgument,
    #[command(flatten)]
    source: ImageArguments,
    #[command(subcommand)]
    command: Option<SbomCommand>,
}

#[derive(Debug, Subcommand)]
enum SbomCommand {
    /// Compare the packages of two images; exit with 1 if they differ.
    Diff {
        /// The old image: any source of `copy`.
        old: Location,
        /// The new image.
        new: Location,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: Box<ImageArguments>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArgument {
    Cyclonedx,
    Spdx,
}

pub fn run(arguments: &SbomArguments) -> Result<ExitCode> {
    if let Some(SbomCommand::Diff { old, new, json, source }) = &arguments.command {
        let [(_, old_image), (_, new_image)] = source.images(old, new)?;
        return compare(&bom(old, &old_image)?, &bom(new, &new_image)?, *json);
    }
    let image = arguments.image.as_ref().context("no image is given")?;
    let format = match arguments.format {
        FormatArgument::Cyclonedx => SbomFormat::CycloneDx,
        FormatArgument::Spdx => SbomFormat::Spdx,
    };
    let mut out = terminal::stdout();
    out.exact().write_all(&bom(image, &arguments.source.image(image)?)?.write(format))?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn bom(location: &Location, image: &Image) -> Result<Bom> {
    Bom::new(image, &BTreeMap::new()).with_context(|| format!("generating the SBOM of {location}"))
}

fn compare(old: &Bom, new: &Bom, as_json: bool) -> Result<ExitCode> {
    let differences = crate::attest::sbom::compare::compare(old, new);
    let mut out = terminal::stdout();
    if as_json {
        serde_json::to_writer_pretty(out.exact(), &differences).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        table(&mut out, &differences)?;
    }
    out.flush()?;
    Ok(if differences == Differences::default() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(out: &mut dyn Write, differences: &Differences) -> io::Result<()> {
    let entry = |PackageVersion { name, version }: &PackageVersion| match version {
        Some(version) => format!("{name} {version}"),
        None => name.clone(),
    };
    for added in &differences.added {
        writeln!(out, "+ {}", line(&entry(added)))?;
    }
    for removed in &differences.removed {
        writeln!(out, "- {}", line(&entry(removed)))?;
    }
    for change in &differences.changed {
        writeln!(
            out,
            "~ {} {} -> {}",
            line(&change.name),
            line(&change.before.join(", ")),
            line(&change.after.join(", "))
        )?;
    }
    for rebuilt in &differences.rebuilt {
        writeln!(out, "= {} (rebuilt)", line(&entry(rebuilt)))?;
    }
    Ok(())
}
