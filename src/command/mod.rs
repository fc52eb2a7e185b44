//! What people type; one file a command.

mod access;
mod attach;
mod budget;
mod copy;
mod diff;
mod explain;
mod fleet;
mod index;
mod inspect;
mod interrupt;
mod lock;
mod login;
mod makes;
mod plan;
mod platform;
mod program;
mod progress;
mod pull;
mod sbom;
mod serve;
mod shell;
mod stream;
mod substituters;
mod trust;
mod verify;

use std::process::ExitCode;

pub use access::{Access, CopyAccess};
use anyhow::Result;
pub use attach::{AttachArguments, Attachments};
pub use budget::BudgetArguments;
pub use explain::Wanted;
pub use fleet::FleetArguments;
pub use index::IndexArguments;
pub use lock::LockArguments;
pub use login::{LoginArguments, LogoutArguments};
pub use makes::MakesArguments;
pub use plan::PlanArguments;
pub use platform::parse_platform;
pub use sbom::SbomArguments;
pub use serve::ServeArguments;
pub use substituters::SubstituterArguments;
pub use verify::VerifyArguments;

use strata::registry::{ParseReferenceError, Reference};

use crate::{cli::Command, derivation};

/// Runs one command.
pub fn run(command: Command) -> Result<ExitCode> {
    // A server ends in its own way, and derivations with all they wrote.
    if !matches!(command, Command::Serve(_) | Command::Build | Command::Program { .. } | Command::Makes(_)) {
        interrupt::remove_unfinished()?;
    }
    match command {
        Command::Completions { shell } => shell::completions(shell),
        Command::Man { directory } => shell::man(&directory),
        Command::Build => derivation::run().map(|()| ExitCode::SUCCESS),
        Command::Program { script, arguments } => program::run(&script, &arguments),
        Command::Index(arguments) => index::run(&arguments),
        Command::Login(arguments) => login::login(&arguments),
        Command::Logout(arguments) => login::logout(&arguments),
        Command::Copy(arguments) => copy::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Pull { reference, directory, platform, access } => {
            pull::pull(&reference, &directory, platform.as_ref(), &access)
        }
        Command::Manifest { reference, index, platform, referrers, access } => match referrers {
            true => pull::referrers(&reference, platform.as_ref(), &access),
            false => pull::manifest(&reference, index, platform.as_ref(), &access),
        },
        Command::Stream { image, repo_tag, created } => stream::run(&image, repo_tag, created),
        Command::Budget(arguments) => budget::run(&arguments),
        Command::Diff(arguments) => Ok(diff::run(&arguments)),
        Command::Lock(arguments) => lock::run(&arguments),
        Command::Makes(arguments) => makes::run(&arguments),
        Command::Attach(arguments) => attach::run(&arguments),
        Command::Sbom(arguments) => sbom::run(&arguments),
        Command::Explain { image, wanted, access } => explain::run(&image, &wanted, &access),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Inspect { image, json, raw, access } => inspect::run(&image, json, raw, &access),
        Command::Verify(arguments) => verify::run(&arguments),
    }
}

/// An image reference, with or without `docker://`.
pub fn parse_reference(text: &str) -> Result<Reference, ParseReferenceError> {
    text.strip_prefix("docker://").unwrap_or(text).parse()
}
