//! Signals of a process that waits for clients of an engine.
//!
//! ```text
//! from the terminal (ctrl-C)   the clients have it too: nothing to do
//! from a process (kill)        passed on to the clients, which pass it on to their containers
//! without a client             the default: strata ends; `--watch` ends in its own way
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
/// Those that end a process.
const ENDS: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Where signals go.
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

    /// Passes signals on to this process too.
    pub fn add_client(&self, client: Pid) {
        self.targets().clients.push(client);
    }

    /// Passes no more signals on to this process, which has ended.
    pub fn remove_client(&self, client: Pid) {
        self.targets().clients.retain(|other| *other != client);
    }

    /// Calls `end` for signals that end a process, instead of the default.
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
                // It may have ended just now.
                let _ = kill_process(*client, signal);
            }
        }
        match &targets.end {
            Some(end) if ENDS.contains(&origin.signal) => end(origin.signal),
            None if targets.clients.is_empty() && origin.signal != SIGWINCH => {
                files::remove_unfinished();
                // Where this cannot end the process, the next signal may.
                let _ = emulate_default_handler(origin.signal);
            }
            _ => {}
        }
    }
}
