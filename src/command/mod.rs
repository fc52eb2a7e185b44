//! What people type; one file a command.

#[cfg(feature = "net")]
mod access;
#[cfg(feature = "net")]
mod copy;
#[cfg(feature = "net")]
mod diff;
mod explain;
mod inspect;
mod location;
#[cfg(feature = "net")]
mod makes;
mod plan;
#[cfg(feature = "net")]
mod progress;
#[cfg(feature = "net")]
mod pull;
#[cfg(feature = "net")]
mod serve;
mod stream;
mod verify;

use std::process::ExitCode;

#[cfg(feature = "net")]
pub use access::{Access, CopyAccess};
use anyhow::Result;
#[cfg(feature = "net")]
pub use copy::Destination;
pub use explain::Wanted;
pub use location::Location;
#[cfg(feature = "net")]
pub use location::parse_platform;
#[cfg(feature = "net")]
pub use makes::MakesArguments;
pub use plan::PlanArguments;
#[cfg(feature = "net")]
pub use serve::Named;

use crate::cli::Command;

/// Runs one command.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build => strata::build::run().map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "net")]
        Command::Copy(arguments) => copy::run(&arguments),
        #[cfg(feature = "net")]
        Command::Serve { images, listen } => serve::run(&images, listen),
        #[cfg(feature = "net")]
        Command::Pull { reference, directory, platform, access } => {
            pull::pull(&reference, &directory, platform.as_ref(), &access)
        }
        #[cfg(feature = "net")]
        Command::Manifest { reference, index, platform, access } => {
            pull::manifest(&reference, index, platform.as_ref(), &access)
        }
        Command::Stream { image, repo_tag, created } => stream::run(&image, repo_tag, created),
        #[cfg(feature = "net")]
        Command::Diff { old, new, compression, json, access } => {
            let options = access.options()?;
            let open = |location: &Location| location.open(&options)?.blobs(None);
            Ok(diff::run(&open, &old, &new, compression.into(), json))
        }
        #[cfg(feature = "net")]
        Command::Makes(arguments) => makes::run(&arguments),
        Command::Explain { image, wanted } => explain::run(&image, &wanted),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Inspect { image, json, raw } => inspect::run(&image, json, raw),
        Command::Verify { image } => verify::run(&image),
    }
}
