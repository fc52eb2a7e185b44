//! Handles SIGINT and SIGTERM: removes unfinished files, and ends with the default action.

use std::thread;

use crate::files;
use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

/// From this call on, unfinished files are removed after a signal.
pub fn remove_unfinished() -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("waiting for signals")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in &mut signals {
                files::remove_unfinished();
                // If this does not end the process, the next signal may.
                let _ = emulate_default_handler(signal);
            }
        })
        .context("starting a thread that waits for signals")?;
    Ok(())
}
