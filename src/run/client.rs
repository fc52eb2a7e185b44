//! The client of an engine, which runs the container in the foreground: its terminal, input and exit status are the
//! container's.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::{EngineName, engine, keeper::Keeper, options, shared::SharedImage, signals::Forwarding};
use crate::closure::StorePath;

/// What is run.
#[derive(Debug)]
pub struct Container<'a> {
    /// The engine's client.
    pub engine: EngineName,
    /// What is mounted.
    pub mounts: &'a [StorePath],
    /// The image that is loaded.
    pub image: &'a SharedImage,
    /// Options of the engine.
    pub options: &'a [OsString],
    /// The command and its arguments, instead of the image's own.
    pub command: &'a [OsString],
}

impl Container<'_> {
    /// Runs the container until the client ends; the client's exit status.
    ///
    /// # Errors
    ///
    /// If a store path is missing, or a process cannot be started.
    pub fn run(&self, forwarding: &Forwarding) -> Result<u8> {
        let mut keeper = Keeper::start(self.engine, self.mounts)?;
        // From here on none can be collected.
        for path in self.mounts {
            let exists = path.as_path().symlink_metadata().is_ok();
            ensure!(
                exists,
                "mounting {path}: it is not in the store any more; `nix-store --realise {path}` restores it"
            );
        }
        let name = self.engine.program();
        let mut client = self.command_line(&keeper).spawn().with_context(|| format!("starting {name}"))?;
        let id = pid(&client)?;
        forwarding.set_client(Some(id));
        let sent = keeper.set_client(client.id());
        let status = wait(&mut client, id, forwarding).with_context(|| format!("waiting for {name}"));
        // Detach keys are read from a terminal only.
        keeper.release(options::detaches(self.options) || io::stdin().is_terminal());
        sent.and(Ok(exit_code(status?)))
    }

    fn command_line(&self, keeper: &Keeper) -> Command {
        let mut command = engine::client(self.engine);
        // Options of the user follow, so that `--rm=false` keeps the container.
        command.args(["run", "--rm", "--label", &keeper.label()]);
        if !options::has(self.options, "pull") {
            command.args(["--pull", "never"]);
        }
        for path in self.mounts {
            command.args(["--mount", &format!("type=bind,source={path},target={path},readonly")]);
        }
        command.args(self.options).arg(self.image.name()).args(self.command);
        command
    }
}

fn pid(client: &Child) -> Result<Pid> {
    i32::try_from(client.id()).ok().and_then(Pid::from_raw).context("the client has no process ID")
}

/// Waits for the client, and passes signals on while its process ID is its own.
fn wait(client: &mut Child, id: Pid, forwarding: &Forwarding) -> std::io::Result<ExitStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(id), options), Err(rustix::io::Errno::INTR)) {}
    forwarding.set_client(None);
    client.wait()
}

/// As shells report it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
