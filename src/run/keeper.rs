//! The keeper: a process that keeps the store paths of a container from being collected, and removes the container if
//! strata is killed.
//!
//! ```text
//! strata ──── pipe ────▶ keeper     PID of the client, then a word after the client has ended
//! "wait"               the container may continue (--detach, detach keys): waits until it has ended
//! "end"                the container has ended: nothing to do
//! "check"              the client failed or was killed: removes the container if it exists, when the engine answers
//! end of file alone    strata was killed: removes the container
//! ```
//!
//! The store paths are in the keeper's environment, where Nix's garbage collector searches roots (nix,
//! src/libstore/gc.cc, `findRuntimeRoots`: `/proc/PID/environ`). The root therefore always ends with the process, and
//! no link remains. The keeper has its own process group, so that signals of the terminal do not reach it.

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
/// The label of an image that is removed with the containers. Images that users commit have the label of the container, so
/// this is another one.
const IMAGE_LABEL: &str = "strata.check";
/// The prefix of environment variables with store paths.
const VARIABLE: &str = "STRATA_RUN_PATHS_";
/// The number of store paths in one variable: Linux allows 128 KiB for one string, and a path has at most 256 bytes.
const PATHS_PER_VARIABLE: usize = 400;
/// The interval in which the engine is asked for containers of a running client.
const INTERVAL: Duration = Duration::from_millis(100);
/// The number of requests after the client has ended, for a container that is being removed.
const ATTEMPTS: usize = 100;

/// The number of attempts for an engine that does not answer, which take a quarter of an hour.
const CHECKS: usize = 1800;
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A running keeper.
#[derive(Debug)]
pub struct Keeper {
    process: Child,
    pipe: ChildStdin,
    token: String,
}

impl Keeper {
    /// Starts the keeper of a container. After the return, the garbage collector keeps `paths`.
    ///
    /// # Errors
    ///
    /// If the process cannot be started.
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

    /// Returns the label by which the keeper finds the container.
    pub fn label(&self) -> String {
        format!("{LABEL}={}", self.token)
    }

    /// Returns the label of images that the keeper removes with the container.
    pub fn image_label(&self) -> String {
        format!("{IMAGE_LABEL}={}", self.token)
    }

    /// Sends the process ID of the client to the keeper.
    ///
    /// # Errors
    ///
    /// If the keeper has ended.
    pub fn set_client(&mut self, client: u32) -> Result<()> {
        writeln!(self.pipe, "{client}").context("writing to the keeper of the container")
    }

    /// Notifies the keeper that the client has ended.
    pub fn release(mut self, release: Release) {
        // A keeper that was killed cannot be notified.
        let _ = writeln!(self.pipe, "{}", release.word());
        drop(self.pipe);
        // The keeper is reaped only if it has ended already. Otherwise the system does it.
        let _ = self.process.try_wait();
    }
}

/// Returns a word that no other container has.
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
    let mut containers = Containers { name, filter: format!("label={LABEL}={token}"), token: token.to_owned() };
    match read_pipe()? {
        // The engine is not asked, since the next run may begin now: podman 4.3 was seen to wait for itself then.
        (_, Some(Release::End)) => {}
        (_, Some(Release::Wait)) => {
            // The keeper must not hold the output of strata open.
            let _ = silence();
            containers.wait();
        }
        (_, Some(Release::Check)) => containers.check(),
        (client, None) => containers.remove(client),
    }
    Ok(ExitCode::SUCCESS)
}

/// The task of the keeper after the client has ended.
#[derive(Clone, Copy, Debug)]
pub enum Release {
    /// No action is needed, since the container has ended.
    End,
    /// Keeps the store paths until the container has ended.
    Wait,
    /// Removes the container, which a failed client may have left.
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

/// Returns the process ID of the client, and the word of strata, or `None` if strata was killed.
fn read_pipe() -> Result<(Option<Pid>, Option<Release>)> {
    let (mut text, mut byte) = (String::new(), [0]);
    let mut client = None;
    // The process ID is needed while the client runs, so the pipe is read byte by byte.
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

/// Redirects the output to /dev/null.
fn silence() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stderr(null)?;
    Ok(())
}

/// The containers of one run: none or one.
struct Containers {
    name: EngineName,
    filter: String,
    token: String,
}

impl Containers {
    /// Waits until none of them runs.
    fn wait(&mut self) {
        let mut failures = 0;
        while failures < CHECKS {
            match self.list(&[]) {
                Some(running) if running.is_empty() => return,
                Some(running) => {
                    failures = 0;
                    if self.engine(&["wait"], &running).is_none() {
                        std::thread::sleep(INTERVAL);
                    }
                }
                // A restart of the daemon does not end its containers.
                None => {
                    failures += 1;
                    std::thread::sleep(CHECK_INTERVAL);
                }
            }
        }
    }

    /// Removes them when the engine answers.
    fn check(&mut self) {
        let name = self.name.program();
        for attempt in 0..CHECKS {
            match self.list(&["--all"]) {
                Some(found) if found.is_empty() => return self.remove_images(),
                Some(found) if self.engine(&["rm", "--force", "--volumes"], &found).is_some() => {
                    note!("strata: the client of {name} ended before its container, which was removed");
                    return self.remove_images();
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
                    // This fails if the engine is removing the container already, because of --rm.
                    let _ = self.engine(&["rm", "--force", "--volumes"], &found);
                }
                Some(_) if !runs => {
                    self.remove_images();
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

    /// Removes the images that [`Keeper::image_label`] marks. The newest is first in the list, as each contains the previous ones.
    fn remove_images(&self) {
        let filter = format!("label={IMAGE_LABEL}={}", self.token);
        let found = self.engine(&["images", "--all", "--quiet", "--no-trunc", "--filter", &filter], &[]);
        let found: Vec<String> = found.unwrap_or_default().lines().map(str::to_owned).collect();
        if !found.is_empty() {
            let _ = self.engine(&["rmi", "--force"], &found);
        }
    }

    fn list(&self, more: &[&str]) -> Option<Vec<String>> {
        let mut arguments = vec!["ps", "--quiet", "--no-trunc", "--filter", &self.filter];
        arguments.extend(more);
        let answer = self.engine(&arguments, &[])?;
        Some(answer.lines().map(str::to_owned).collect())
    }

    /// Runs the engine's client. Returns its output, or nothing if it fails.
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
