//! `strata program FILE ARGUMENTS…`: a script of arguments, whose interpreter is strata.
//!
//! ```text
//! #!/nix/store/…-strata/bin/strata program
//! copy
//! /nix/store/…-image-hello.json
//! docker://registry.example.com/hello:v1
//! ```
//!
//! A line is an argument, and those that the script is run with follow. The copy programs of images are such scripts: they
//! need no shell.

use std::{ffi::OsString, fs, path::Path, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::cli::{Cli, Command};

pub fn run(script: &Path, arguments: &[OsString]) -> Result<ExitCode> {
    let text = fs::read_to_string(script).with_context(|| format!("reading {}", script.display()))?;
    let lines = text.lines().skip(1).map(OsString::from);
    let command = Cli::parse_from(["strata".into()].into_iter().chain(lines).chain(arguments.iter().cloned())).command;
    ensure!(!matches!(command, Command::Program { .. }), "{} runs a script again", script.display());
    super::run(command)
}
