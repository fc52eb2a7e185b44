//! Processes of a server, which end with the server or after a time limit.

use std::{
    io,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::budget::{self, Budget};

/// The interval in which a running process is checked.
const POLL: Duration = Duration::from_millis(20);
/// The time for Nix to end its builders after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// The processes of Nix and git, with their limits.
#[derive(Debug)]
pub struct Processes {
    timeout: Duration,
    memory: u64,
    stopped: AtomicBool,
}

impl Processes {
    /// `timeout` is the limit of a build, and `memory` the address space of an evaluation in MB.
    pub fn new(timeout: Duration, memory: u64) -> Self {
        Self { timeout, memory, stopped: AtomicBool::new(false) }
    }

    /// Ends all processes, and refuses new ones.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Returns the time limit of a build.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the address space of an evaluation, in MB.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Returns the exit status of a process, or `None` if it was ended after `timeout` or by `stop`.
    fn wait(&self, child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline && !self.is_stopped() {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            thread::sleep(POLL);
        }
        // Nix ends its builders after SIGTERM, whereas SIGKILL would leave them running.
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let killed = Instant::now() + GRACE;
        while Instant::now() < killed && child.try_wait()?.is_none() {
            thread::sleep(POLL);
        }
        let _ = child.kill();
        child.wait()?;
        Ok(None)
    }
}

/// The output of a process, and the result of reading its standard error. Without a status, the process was ended.
pub struct Ended<T> {
    pub status: Option<ExitStatus>,
    pub stdout: io::Result<Vec<u8>>,
    pub log: T,
}

impl Processes {
    /// Runs a command for at most `timeout`. Its standard output is limited, and `read_log` reads its standard error.
    pub fn run<T: Default + Send>(
        &self,
        command: &mut Command,
        timeout: Duration,
        limits: &'static budget::Limits,
        read_log: impl FnOnce(ChildStderr) -> T + Send,
    ) -> Result<Ended<T>> {
        anyhow::ensure!(!self.is_stopped(), "strata is stopping");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().with_context(|| format!("starting {name}; install it, or add it to PATH"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, log, status) = thread::scope(|scope| {
            let stdout = scope.spawn(|| {
                // At the limit the pipe is closed, which ends the process.
                stdout.map_or_else(|| Ok(Vec::new()), |stdout| Budget::new(limits).read(stdout))
            });
            let log = scope.spawn(|| stderr.map(read_log).unwrap_or_default());
            let status = self.wait(&mut child, timeout);
            (stdout.join(), log.join(), status)
        });
        anyhow::ensure!(!self.is_stopped(), "strata is stopping");
        let stdout = stdout.unwrap_or_else(|_| Ok(Vec::new()));
        Ok(Ended { status: status?, stdout, log: log.unwrap_or_default() })
    }
}
