//! The program: its commands, their arguments, and everything that is printed.

// Doc comments of arguments are help texts, with the syntax of references in brackets.
#![allow(rustdoc::broken_intra_doc_links)]

mod access;
mod allocator;
mod also;
pub(crate) mod attach;
mod attached;
pub(crate) mod budget;
pub(crate) mod check;
mod commands;
mod compression;
pub(crate) mod copy;
mod copy_arguments;
mod copy_flags;
pub(crate) mod diff;
pub(crate) mod explain;
mod flag_rules;
mod flake;
mod fleet;
mod fleet_arguments;
mod harden;
pub(crate) mod index;
pub(crate) mod inspect;
mod inspect_format;
pub(crate) mod interrupt;
pub(crate) mod lock;
pub(crate) mod login;
pub(crate) mod makes;
mod nix_node;
mod nix_store;
mod outcome;
mod parse;
mod path_info;
pub(crate) mod plan;
pub(crate) mod program;
mod progress;
mod prompt;
pub(crate) mod pull;
pub(crate) mod rebuild;
mod reproduced;
mod restricted;
pub(crate) mod run;
mod run_options;
pub(crate) mod sbom;
pub(crate) mod serve;
pub(crate) mod shell;
mod side;
pub(crate) mod skopeo;
mod source;
mod start;
pub(crate) mod stream;
mod substituters;
mod template;
mod transfer;
mod trust;
pub(crate) mod verify;
mod vex;

use std::{
    ffi::OsString,
    io::{self, Write},
    num::NonZeroUsize,
    os::fd::AsFd,
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Error, Result};
use clap::{CommandFactory, Parser};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::builder;
use crate::image::OpenError;
use crate::run::keeper;
use crate::terminal;
use crate::threads;
use crate::transport::installable;
use commands::{Cli, Command};

/// The exit code of an error. 1 means that a difference was found or a check failed. clap exits with 2 for wrong usage.
const ERROR: u8 = 2;
/// The exit code of an error of skopeo: `logrus.Fatal` in its cmd/skopeo/main.go, which exits with 2 if there is no such image.
const SKOPEO_ERROR: u8 = 1;

/// Runs the program: parses the arguments, runs one command, and prints a chain of errors.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let code_of_errors = if matches!(cli.command, Command::Skopeo { .. }) { SKOPEO_ERROR } else { ERROR };
    match run(cli) {
        Ok(code) => code,
        // A closed stdout, as with `head`, is success. A broken pipe elsewhere is an error.
        Err(error) if is_broken_pipe(&error) && has_no_reader(&io::stdout()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::failed(&error);
            let is_absent =
                error.chain().any(|cause| cause.downcast_ref::<OpenError>().is_some_and(OpenError::is_absent));
            ExitCode::from(if is_absent { ERROR } else { code_of_errors })
        }
    }
}

/// Runs a command line of skopeo. Wrong usage is an error as any other (cobra's `Execute` in its cmd/skopeo/main.go).
fn run_skopeo(arguments: Vec<OsString>, jobs: Option<NonZeroUsize>) -> Result<ExitCode> {
    match Cli::try_parse_from(skopeo::command_line(arguments)?) {
        Ok(mut cli) => {
            skopeo::omit_flags_without_effect(&mut cli.command);
            cli.jobs = cli.jobs.or(jobs);
            run(cli)
        }
        Err(error) => {
            error.print()?;
            Ok(if error.exit_code() == 0 { ExitCode::SUCCESS } else { ExitCode::from(SKOPEO_ERROR) })
        }
    }
}

/// Runs one command.
fn run(cli: Cli) -> Result<ExitCode> {
    let Cli { command, nix_arg, jobs } = cli;
    if matches!(command, Command::Copy(_) | Command::Serve(_) | Command::Rebuild(_)) {
        allocator::fix_threshold();
    }
    // These run another command, which may have the option, too; derivations have the cores that Nix grants.
    if !matches!(command, Command::Program { .. } | Command::Skopeo { .. } | Command::Build)
        && let Some(jobs) = jobs.map_or_else(parse::jobs_of_environment, |jobs| Ok(Some(jobs)))?
    {
        threads::set_jobs(jobs).context("starting threads")?;
    }
    installable::add_arguments(&nix_arg);
    // The references of a fleet are in its file.
    if !matches!(&command, Command::Copy(arguments) if arguments.fleet.fleet.is_some()) {
        installable::check_arguments().map_err(Error::msg)?;
    }
    // A server handles signals itself, and the output of a failed derivation is removed by Nix.
    if !matches!(
        command,
        Command::Serve(_)
            | Command::Build
            | Command::EnterRoot { .. }
            | Command::EnterCheck { .. }
            | Command::Program { .. }
            | Command::Skopeo { .. }
            | Command::Makes(_)
            | Command::Run(_)
            | Command::RunKeeper { .. }
    ) {
        interrupt::remove_unfinished()?;
    }
    dispatch(command, jobs)
}

fn dispatch(command: Command, jobs: Option<NonZeroUsize>) -> Result<ExitCode> {
    match command {
        Command::Completions { shell } => shell::completions(shell, Cli::command()),
        Command::Man { directory } => shell::man(&directory, Cli::command()),
        Command::Build => builder::run(jobs).map(|()| ExitCode::SUCCESS),
        Command::EnterRoot { isolation } => match builder::enter_root(&isolation)? {},
        Command::EnterCheck { stage, file, process } => check::enter(&stage, &file, process),
        Command::Program { script, arguments } => run_program(&script, arguments, jobs),
        Command::Skopeo { arguments } => run_skopeo(arguments, jobs),
        Command::Index(arguments) => index::run(&arguments),
        Command::Login(arguments) => login::login(&arguments),
        Command::Logout(arguments) => login::logout(&arguments),
        Command::Copy(arguments) => copy::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Pull(arguments) => pull::pull(&arguments),
        Command::Manifest(arguments) => pull::manifest(&arguments),
        Command::Stream { image, repo_tag, created, source } => stream::run(&image, &source, repo_tag, created),
        Command::Budget(arguments) => budget::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Lock(arguments) => lock::run(&arguments),
        Command::Makes(arguments) => makes::run(&arguments),
        Command::Attach(arguments) => attach::run(&arguments),
        Command::Sbom(arguments) => sbom::run(&arguments),
        Command::Run(arguments) => self::run::run(&arguments),
        Command::ComposeMounts(arguments) => self::run::compose(&arguments),
        Command::RunKeeper { engine, token } => keeper::keep(engine.into(), &token),
        Command::Explain { image, wanted, source } => explain::run(&image, &wanted, &source),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::ListTags { reference, access } => inspect::list_tags(&reference, &access),
        Command::Inspect { image, format: Some(template), config, no_tags, source, .. } => {
            inspect::format(&image, &inspect::Template { text: &template, of_config: config, no_tags }, &source)
        }
        Command::Inspect { image, json, raw, config, source, format: None, .. } => {
            let form = match (json, config, raw) {
                (true, ..) => inspect::Form::Json,
                // As in skopeo, also together with --raw.
                (_, true, _) => inspect::Form::Config,
                (.., true) => inspect::Form::Manifest,
                _ => inspect::Form::Table,
            };
            inspect::run(&image, &form, &source)
        }
        Command::Rebuild(arguments) => rebuild::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Vex(arguments) => vex::run(&arguments),
    }
}

/// Runs the command of a script of arguments, or prints its help.
fn run_program(script: &Path, arguments: Vec<OsString>, jobs: Option<NonZeroUsize>) -> Result<ExitCode> {
    let asks_for_help = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    let line = program::command_line(script, arguments)?;
    if asks_for_help && let Some(help) = program::help(script, &line, Cli::command()) {
        write!(terminal::stdout(), "{help}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut cli = Cli::parse_from(line);
    cli.jobs = cli.jobs.or(jobs);
    run(cli)
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
