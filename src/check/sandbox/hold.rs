//! Processes that wait for another, and end with the one that started them.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode, ExitStatus},
    sync::Arc,
};

use anyhow::{Context, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::{
    consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2},
    flag,
};

/// Lets the kernel kill this process when the one that started it ends.
///
/// # Errors
///
/// If the kernel refuses.
pub fn end_with_parent() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("binding the process to the one that started it")
}

/// Runs a command, and has its exit status.
///
/// # Errors
///
/// If it cannot be started.
pub fn wait(mut command: Command) -> Result<ExitCode> {
    let status = command.status().context("starting strata in a namespace")?;
    Ok(ExitCode::from(u8::try_from(exit_status(status)).unwrap_or(1)))
}

/// An exit status as shells and engines report it: that of a signal is 128 and its number.
pub fn exit_status(status: ExitStatus) -> i64 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1).into()
}

/// Gives programs that this process executes the default action of each signal, as engines do.
///
/// A shell starts jobs in the background with SIGINT ignored, and a program keeps what is ignored: one that is stopped by
/// SIGINT would not end. A signal with a handler has its default action after execve(2).
///
/// # Errors
///
/// If the kernel refuses.
pub fn restore_signals() -> Result<()> {
    for signal in [SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2] {
        flag::register(signal, Arc::default()).context("restoring the actions of signals")?;
    }
    Ok(())
}
