//! `strata`: parse, run, print one error chain.

mod cli;
mod command;
mod derivation;
mod moment;

use std::{io, os::fd::AsFd, process::ExitCode};

use clap::Parser;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn main() -> ExitCode {
    match command::run(cli::Cli::parse().command) {
        Ok(code) => code,
        // Whoever read our output has seen enough. A pipe to another program, or a registry that hangs up, is an error.
        Err(error) if is_broken_pipe(&error) && has_no_reader(&io::stdout()) => ExitCode::SUCCESS,
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

fn has_no_reader(out: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(out, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP;
    poll(&mut polled, Some(&Timespec::default())).is_ok() && polled[0].revents().intersects(gone)
}
