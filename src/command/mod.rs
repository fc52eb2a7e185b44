//! What people type; one file a command.

#[cfg(feature = "net")]
mod access;
#[cfg(feature = "net")]
mod copy;
mod inspect;
mod location;
#[cfg(feature = "net")]
mod progress;
mod stream;
mod verify;

use std::process::ExitCode;

#[cfg(feature = "net")]
pub use access::CopyAccess;
use anyhow::Result;
#[cfg(feature = "net")]
pub use copy::Destination;
pub use location::Location;
#[cfg(feature = "net")]
pub use location::parse_platform;

use crate::cli::Command;

/// Runs one command.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build => strata::build::run().map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "net")]
        Command::Copy(arguments) => copy::run(&arguments),
        Command::Stream { image, repo_tag } => stream::run(&image, repo_tag),
        Command::Inspect { image, json, raw } => inspect::run(&image, json, raw),
        Command::Verify { image } => verify::run(&image),
    }
}
