//! SIGINT and SIGTERM: what is unfinished is removed, and the program ends as it would without us.

use std::thread;

use crate::files;
use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

/// From here on, unfinished files do not outlive a signal.
pub fn remove_unfinished() -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("waiting for signals")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in &mut signals {
                files::remove_unfinished();
                // It ends us; where it cannot, the next signal may.
                let _ = emulate_default_handler(signal);
            }
        })
        .context("starting a thread that waits for signals")?;
    Ok(())
}
