//! Processes that wait for a child, and end with their parent.

use std::{
    process::{Command, ExitCode},
    sync::Arc,
};

use anyhow::{Context, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::{
    consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2},
    flag,
};

use crate::run::client::exit_code;

/// Makes the kernel kill this process when its parent ends.
///
/// # Errors
///
/// If the kernel reports an error.
pub fn end_with_parent() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("binding the process to the one that started it")
}

/// Runs a command and returns its exit status.
///
/// # Errors
///
/// If it cannot be started.
pub fn wait(mut command: Command) -> Result<ExitCode> {
    let status = command.status().context("starting strata in a namespace")?;
    Ok(ExitCode::from(exit_code(status)))
}

/// Resets all signals of programs that this process executes to their default action, as engines do.
///
/// A shell starts jobs in the background with SIGINT ignored, and programs inherit that: a program that is stopped by
/// SIGINT would not end. A signal with a handler has its default action after execve(2).
///
/// # Errors
///
/// If the kernel reports an error.
pub fn restore_signals() -> Result<()> {
    for signal in [SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2] {
        flag::register(signal, Arc::default()).context("restoring the actions of signals")?;
    }
    Ok(())
}
