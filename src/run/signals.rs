//! Signals of a process that waits for the client of an engine.
//!
//! ```text
//! from the terminal (ctrl-C)   the client has it too: nothing to do
//! from a process (kill)        passed on to the client, which passes it on to the container
//! before the client starts     the default: strata ends
//! ```

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::{
        emulate_default_handler,
        siginfo::{Cause, Origin},
    },
};

use crate::files;

const ALL: [i32; 9] = [SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH];

/// Where signals go.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    client: Arc<Mutex<Option<Pid>>>,
}

impl Forwarding {
    /// Waits for signals from here on.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn start() -> Result<Self> {
        let forwarding = Self::default();
        let mut signals = SignalsInfo::<WithOrigin>::new(ALL).context("waiting for signals")?;
        let own = forwarding.clone();
        let wait = move || signals.forever().for_each(|origin| own.handle(&origin));
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait)
            .context("starting a thread that waits for signals")?;
        Ok(forwarding)
    }

    /// Passes signals on to this process; `None` before it starts and after it has ended.
    pub fn set_client(&self, client: Option<Pid>) {
        *self.client() = client;
    }

    fn client(&self) -> MutexGuard<'_, Option<Pid>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, origin: &Origin) {
        match *self.client() {
            Some(client) if matches!(origin.cause, Cause::Sent(_)) => {
                if let Some(signal) = Signal::from_named_raw(origin.signal) {
                    // It may have ended just now.
                    let _ = kill_process(client, signal);
                }
            }
            Some(_) => {}
            None => {
                if origin.signal != SIGWINCH {
                    files::remove_unfinished();
                    // Where this cannot end the process, the next signal may.
                    let _ = emulate_default_handler(origin.signal);
                }
            }
        }
    }
}
