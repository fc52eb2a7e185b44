//! `strata`: parse, run, print one error chain.

mod cli;
mod command;
mod derivation;

use std::{io, process::ExitCode};

use clap::Parser;

fn main() -> ExitCode {
    match command::run(cli::Cli::parse().command) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("strata: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut chain = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    chain.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
