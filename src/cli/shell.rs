//! `strata completions SHELL` and `strata man DIR`: completions and man pages for packages, made from the arguments.

use std::{fs, io::Write, path::Path, process::ExitCode};

use crate::terminal;
use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

/// Prints the completions for a shell.
pub fn completions(shell: Shell, mut program: Command) -> Result<ExitCode> {
    // The generator panics after an error of its output, so the script is written in one piece.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "strata", &mut script);
    terminal::stdout().exact().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a man page for each command into `directory`.
pub fn man(directory: &Path, program: Command) -> Result<ExitCode> {
    let writing = || format!("writing man pages into {}", directory.display());
    fs::create_dir_all(directory).with_context(writing)?;
    clap_mangen::generate_to(program, directory).with_context(writing)?;
    Ok(ExitCode::SUCCESS)
}
