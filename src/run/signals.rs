//! Handles signals while the process waits for clients of an engine.
//!
//! ```text
//! from the terminal (ctrl-C)   the clients receive it too: nothing to do
//! from a process (kill)        passed on to the clients, which pass it on to their containers
//! without a client             the default: strata ends; `--watch` ends the containers first
//! ```

use std::{
    fmt,
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
/// Signals that end a process.
const ENDS: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// The receivers of signals.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    targets: Arc<Mutex<Targets>>,
}

#[derive(Default)]
struct Targets {
    clients: Vec<Pid>,
    end: Option<Box<dyn Fn(i32) + Send>>,
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets").field("clients", &self.clients).finish_non_exhaustive()
    }
}

impl Forwarding {
    /// Starts to handle signals.
    ///
    /// # Errors
    ///
    /// If the system reports an error.
    pub fn start() -> Result<Self> {
        let forwarding = Self::default();
        let mut signals = SignalsInfo::<WithOrigin>::new(ALL).context("waiting for signals")?;
        let signal_forwarding = forwarding.clone();
        let wait = move || signals.forever().for_each(|origin| signal_forwarding.handle(&origin));
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait)
            .context("starting a thread that waits for signals")?;
        Ok(forwarding)
    }

    /// Adds a process that receives signals.
    pub fn add_client(&self, client: Pid) {
        self.targets().clients.push(client);
    }

    /// Removes a process that has ended.
    pub fn remove_client(&self, client: Pid) {
        self.targets().clients.retain(|other| *other != client);
    }

    /// Sets a function that is called for signals that end a process, instead of the default.
    pub fn set_end(&self, end: impl Fn(i32) + Send + 'static) {
        self.targets().end = Some(Box::new(end));
    }

    fn targets(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, origin: &Origin) {
        let targets = self.targets();
        if matches!(origin.cause, Cause::Sent(_))
            && let Some(signal) = Signal::from_named_raw(origin.signal)
        {
            for client in &targets.clients {
                // The client may have ended in the meantime.
                let _ = kill_process(*client, signal);
            }
        }
        match &targets.end {
            Some(end) if ENDS.contains(&origin.signal) => end(origin.signal),
            None if targets.clients.is_empty() && origin.signal != SIGWINCH => {
                files::remove_unfinished();
                // If this does not end the process, the next signal may.
                let _ = emulate_default_handler(origin.signal);
            }
            _ => {}
        }
    }
}
