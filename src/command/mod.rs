//! What people type; one file a command.

mod inspect;
mod stream;
mod verify;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Command;

/// Runs one command.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build => strata::build::run().map(|()| ExitCode::SUCCESS),
        Command::Stream { image, repo_tag } => stream::run(&image, repo_tag),
        Command::Inspect { image, json, raw } => inspect::run(&image, json, raw),
        Command::Verify { image } => verify::run(&image),
    }
}
