//! The process beside a container: it keeps the store paths, and removes the container if strata is killed.
//!
//! ```text
//! strata ──── pipe ────▶ keeper     PID of the client, then a word when the client has ended
//!   "wait"               the container may go on (--detach, detach keys): waits until it has ended
//!   "end"                it has ended: nothing is left to do
//!   "check"              the client failed or was killed: removes the container if there is one, once the engine answers
//!   end of file alone    strata was killed: removes the container
//! ```
//!
//! The store paths are in the keeper's environment, where Nix's garbage collector looks for roots (nix,
//! src/libstore/gc.cc, `findRuntimeRoots`: `/proc/PID/environ`). So the root ends with the process, however that ends, and
//! no link is left. The keeper is in a process group of its own, so that signals of the terminal do not reach it.

use std::{
    env,
    ffi::OsString,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::Pid;

use super::{EngineName, engine};
use crate::{closure::StorePath, terminal::note};

/// The label of a container, whose value is the keeper's token.
pub const LABEL: &str = "strata.run";
/// Variables of the environment that hold store paths begin with this.
const VARIABLE: &str = "STRATA_RUN_PATHS_";
/// Store paths in one variable: Linux takes 128 KiB for one string, and a path has at most 256 bytes.
const PATHS_PER_VARIABLE: usize = 400;
/// How often the engine is asked for containers of a client that still runs.
const INTERVAL: Duration = Duration::from_millis(100);
/// How often it is asked once the client has ended, for a container that is being removed.
const ATTEMPTS: usize = 100;

/// How often an engine that does not answer is asked again: for a quarter of an hour.
const CHECKS: usize = 1800;
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A keeper that runs.
#[derive(Debug)]
pub struct Keeper {
    process: Child,
    pipe: ChildStdin,
    token: String,
}

impl Keeper {
    /// Starts the keeper of a container. When this returns, the garbage collector keeps `paths`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(name: EngineName, paths: &[StorePath]) -> Result<Self> {
        let token = token();
        let program = env::current_exe().context("finding the program")?;
        let mut command = Command::new(program);
        command.args(["run-keeper", name.program(), &token]);
        for (at, paths) in paths.chunks(PATHS_PER_VARIABLE).enumerate() {
            let paths: Vec<&str> = paths.iter().map(StorePath::as_str).collect();
            command.env(format!("{VARIABLE}{at}"), paths.join(":"));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut process = command.spawn().context("starting the keeper of the container")?;
        let pipe = process.stdin.take().context("starting the keeper of the container")?;
        Ok(Self { process, pipe, token })
    }

    /// The label by which the keeper finds the container.
    pub fn label(&self) -> String {
        format!("{LABEL}={}", self.token)
    }

    /// Tells the keeper which process runs the container.
    ///
    /// # Errors
    ///
    /// If the keeper has ended.
    pub fn set_client(&mut self, client: u32) -> Result<()> {
        writeln!(self.pipe, "{client}").context("writing to the keeper of the container")
    }

    /// Tells the keeper that the client has ended.
    pub fn release(mut self, release: Release) {
        // A keeper that was killed needs no news.
        let _ = writeln!(self.pipe, "{}", release.word());
        drop(self.pipe);
        // It is waited for only if it has ended already; what is left of it is the system's.
        let _ = self.process.try_wait();
    }
}

/// A word that no other container has.
fn token() -> String {
    let nanoseconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!("{}-{nanoseconds}", std::process::id())
}

/// Runs the keeper.
///
/// # Errors
///
/// If its arguments or the pipe cannot be read.
pub fn keep(name: EngineName, token: &str) -> Result<ExitCode> {
    let mut containers = Containers { name, filter: format!("label={LABEL}={token}") };
    match read_pipe()? {
        // The engine is not asked: the next run may begin now, and podman 4.3 was seen to wait for itself then.
        (_, Some(Release::End)) => {}
        (_, Some(Release::Wait)) => {
            // The output of strata must end with strata.
            let _ = silence();
            containers.wait();
        }
        (_, Some(Release::Check)) => containers.check(),
        (client, None) => containers.remove(client),
    }
    Ok(ExitCode::SUCCESS)
}

/// What the keeper does after the client has ended.
#[derive(Clone, Copy, Debug)]
pub enum Release {
    /// Nothing: the container has ended.
    End,
    /// Keeps the store paths until the container has ended.
    Wait,
    /// Removes the container: the client failed, and may have left one.
    Check,
}

impl Release {
    const ALL: [Self; 3] = [Self::End, Self::Wait, Self::Check];

    fn word(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Wait => "wait",
            Self::Check => "check",
        }
    }
}

/// The client, and how strata released the keeper; `None` if strata was killed.
fn read_pipe() -> Result<(Option<Pid>, Option<Release>)> {
    let (mut text, mut byte) = (String::new(), [0]);
    let mut client = None;
    // The client is opened while it runs, so byte by byte.
    while io::stdin().read(&mut byte).context("reading from strata")? == 1 {
        match byte[0] {
            b'\n' => match Release::ALL.into_iter().find(|release| release.word() == text) {
                Some(release) => return Ok((client, Some(release))),
                None => client = std::mem::take(&mut text).parse().ok().and_then(Pid::from_raw),
            },
            other => text.push(char::from(other)),
        }
    }
    Ok((client, None))
}

/// Writes nothing more.
fn silence() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stderr(null)?;
    Ok(())
}

/// The containers of one run: none or one.
struct Containers {
    name: EngineName,
    filter: String,
}

impl Containers {
    /// Waits until none of them runs.
    fn wait(&mut self) {
        while let Some(running) = self.list(&[]).filter(|running| !running.is_empty()) {
            if self.engine(&["wait"], &running).is_none() {
                std::thread::sleep(INTERVAL);
            }
        }
    }

    /// Removes them once the engine answers.
    fn check(&mut self) {
        let name = self.name.program();
        for attempt in 0..CHECKS {
            match self.list(&["--all"]) {
                Some(found) if found.is_empty() => return,
                Some(found) if self.engine(&["rm", "--force", "--volumes"], &found).is_some() => {
                    note!("strata: the client of {name} ended before its container, which was removed");
                    return;
                }
                Some(_) => {}
                None if attempt == 0 => {
                    note!("strata: {name} does not answer; its container is removed as soon as it does");
                    let _ = silence();
                }
                None => {}
            }
            std::thread::sleep(CHECK_INTERVAL);
        }
    }

    /// Removes them, and those that the client may still create.
    fn remove(&mut self, client: Option<Pid>) {
        let (name, filter) = (self.name.program(), self.filter.clone());
        let (mut was_found, mut attempts) = (false, 0);
        loop {
            let runs = client.is_some_and(is_running);
            match self.list(&["--all"]) {
                Some(found) if !found.is_empty() => {
                    was_found = true;
                    // It fails if the engine is removing it already, because of --rm.
                    let _ = self.engine(&["rm", "--force", "--volumes"], &found);
                }
                Some(_) if !runs => {
                    if was_found {
                        note!("strata: run was killed; its container was removed");
                    }
                    return;
                }
                _ => {}
            }
            if !runs {
                attempts += 1;
            }
            if attempts == ATTEMPTS {
                note!(
                    "strata: run was killed; {name} did not remove its container, `{name} ps --all --filter {filter}` lists it"
                );
                return;
            }
            std::thread::sleep(INTERVAL);
        }
    }

    fn list(&self, more: &[&str]) -> Option<Vec<String>> {
        let mut arguments = vec!["ps", "--quiet", "--no-trunc", "--filter", &self.filter];
        arguments.extend(more);
        let answer = self.engine(&arguments, &[])?;
        Some(answer.lines().map(str::to_owned).collect())
    }

    /// Runs the engine's client; what it prints, or nothing if it fails.
    fn engine(&self, arguments: &[&str], containers: &[String]) -> Option<String> {
        let mut command = engine::client(self.name);
        command.args(arguments).args(containers).stdin(Stdio::null()).stderr(Stdio::null());
        let variables = env::vars_os().map(|(name, _)| name);
        for name in variables.filter(|name: &OsString| name.to_string_lossy().starts_with(VARIABLE)) {
            command.env_remove(name);
        }
        let output = command.output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn is_running(process: Pid) -> bool {
    rustix::process::test_kill_process(process).is_ok()
}
