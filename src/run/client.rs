//! The client of an engine, which runs the container in the foreground. Its terminal, input and exit status are those
//! of the container.

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, IsTerminal},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::{
    EngineName, engine,
    keeper::{Keeper, Release},
    options,
    shared::SharedImage,
    signals::Forwarding,
};
use crate::{closure::StorePath, terminal::note};

/// The exit status of docker and podman if the engine itself fails.
const ENGINE_FAILED: i32 = 125;

/// The container to run.
#[derive(Debug)]
pub struct Container<'a> {
    /// The client of the engine.
    pub engine: EngineName,
    /// The mounted store paths.
    pub mounts: &'a [StorePath],
    /// The loaded image.
    pub image: &'a SharedImage,
    /// Options of the engine.
    pub options: &'a [OsString],
    /// The command and its arguments, which replace those of the image.
    pub command: &'a [OsString],
    /// Whether the client reads the standard input.
    pub has_input: bool,
}

impl Container<'_> {
    /// Starts the container.
    ///
    /// # Errors
    ///
    /// If a store path is missing, or a process cannot be started.
    pub fn start(&self, forwarding: &Forwarding) -> Result<RunningContainer> {
        let mut keeper = Keeper::start(self.engine, self.mounts)?;
        // From this point on, the garbage collector cannot remove these paths.
        check_mounts(self.mounts)?;
        let name = self.engine.program();
        let client = self.command_line(&keeper).spawn().with_context(|| format!("starting {name}"))?;
        let id = pid(&client)?;
        forwarding.add_client(id);
        let sent = keeper.set_client(client.id());
        // Detach keys are only read from a terminal.
        let may_go_on = options::detaches(self.options) || (self.has_input && io::stdin().is_terminal());
        let mounts = self.mounts.to_vec();
        Ok(RunningContainer { keeper, mounts, sent, client, id, name, may_go_on, forwarding: forwarding.clone() })
    }

    fn command_line(&self, keeper: &Keeper) -> Command {
        let mut command = engine::client(self.engine);
        // Options of the user follow, so that `--rm=false` keeps the container.
        command.args(["run", "--rm", "--label", &keeper.label()]);
        if !options::has_option(self.options, "pull") {
            command.args(["--pull", "never"]);
        }
        for path in self.mounts {
            command.args(["--mount", &format!("type=bind,source={path},target={path},readonly")]);
        }
        command.args(self.options).arg(self.image.name()).args(self.command);
        if !self.has_input {
            command.stdin(Stdio::null());
        }
        command
    }
}

/// A container with a running client.
#[derive(Debug)]
pub struct RunningContainer {
    keeper: Keeper,
    mounts: Vec<StorePath>,
    /// Whether the keeper received the client's process ID.
    sent: Result<()>,
    client: Child,
    id: Pid,
    name: &'static str,
    may_go_on: bool,
    forwarding: Forwarding,
}

impl RunningContainer {
    /// Returns the label by which the engine finds the container.
    pub fn label(&self) -> String {
        self.keeper.label()
    }

    /// Waits until the client ends, and returns its exit status.
    ///
    /// # Errors
    ///
    /// If the system reports an error.
    pub fn wait(mut self) -> Result<u8> {
        let status = wait(&mut self.client, self.id, &self.forwarding);
        let release = match &status {
            Ok(status) if status.signal().is_some() || status.code() == Some(ENGINE_FAILED) => Release::Check,
            _ if self.may_go_on => Release::Wait,
            _ => Release::End,
        };
        self.keeper.release(release);
        if let Some(path) = self.mounts.iter().find(|path| !is_in_store(path)) {
            note!("strata: {path} was removed from the store while the container ran; {}", remedy(path));
        }
        let status = status.with_context(|| format!("waiting for {}", self.name))?;
        self.sent.map(|()| exit_code(status))
    }
}

/// Checks that the store has all paths.
///
/// # Errors
///
/// If a path is missing; the message names it.
pub fn check_mounts(mounts: &[StorePath]) -> Result<()> {
    for path in mounts {
        ensure!(is_in_store(path), "mounting {path}: it is not in the store any more; {}", remedy(path));
    }
    Ok(())
}

fn is_in_store(path: &StorePath) -> bool {
    path.as_path().symlink_metadata().is_ok()
}

/// Returns the remedy for a missing store path. If only the files of a path are missing, the path is still valid for
/// Nix, which then realises nothing, and a daemon repairs no paths.
pub fn remedy(path: impl Display) -> String {
    format!(
        "`nix-store --realise {path}` restores it; if its files were deleted by hand, run `nix-store --repair-path \
         {path}` as root"
    )
}

fn pid(client: &Child) -> Result<Pid> {
    i32::try_from(client.id()).ok().and_then(Pid::from_raw).context("the client has no process ID")
}

/// Waits for the client, and passes signals on as long as the process exists.
fn wait(client: &mut Child, id: Pid, forwarding: &Forwarding) -> std::io::Result<ExitStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(id), options), Err(rustix::io::Errno::INTR)) {}
    forwarding.remove_client(id);
    client.wait()
}

/// Returns an exit status in the form of shells and engines: for a signal it is 128 plus its number.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
