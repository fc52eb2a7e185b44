//! What people type; one file a command.

mod access;
mod copy;
mod diff;
mod explain;
mod inspect;
mod location;
mod makes;
mod plan;
mod progress;
mod pull;
mod serve;
mod stream;
mod verify;

use std::process::ExitCode;

pub use access::{Access, CopyAccess};
use anyhow::Result;
pub use copy::Destination;
pub use explain::Wanted;
pub use location::Location;
pub use location::parse_platform;
pub use makes::MakesArguments;
pub use plan::PlanArguments;
pub use serve::Named;

use crate::{cli::Command, derivation};

/// Runs one command.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build => derivation::run().map(|()| ExitCode::SUCCESS),
        Command::Copy(arguments) => copy::run(&arguments),
        Command::Serve { images, listen } => serve::run(&images, listen),
        Command::Pull { reference, directory, platform, access } => {
            pull::pull(&reference, &directory, platform.as_ref(), &access)
        }
        Command::Manifest { reference, index, platform, access } => {
            pull::manifest(&reference, index, platform.as_ref(), &access)
        }
        Command::Stream { image, repo_tag, created } => stream::run(&image, repo_tag, created),
        Command::Diff { old, new, compression, json, access } => {
            let options = access.options()?;
            let open = |location: &Location| location.open(&options)?.blobs(None);
            Ok(diff::run(&open, &old, &new, compression.into(), json))
        }
        Command::Makes(arguments) => makes::run(&arguments),
        Command::Explain { image, wanted } => explain::run(&image, &wanted),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Inspect { image, json, raw } => inspect::run(&image, json, raw),
        Command::Verify { image } => verify::run(&image),
    }
}
