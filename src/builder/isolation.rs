//! The environment of a script that runs as root: the image's root file system, and only those parts of the machine
//! that a build may use.
//!
//! ```text
//! /                  the image's root; the machine's is detached
//! /nix/store         the store, read-only
//! /proc              of the script's own processes; what does not belong to one of them is read-only: sys, sysrq-trigger, …
//! /dev               null zero full random urandom tty, pts and shm of its own
//! /.strata-scripts   the script
//! ```
//!
//! The script cannot undo this: it runs in a second user namespace, in which mounts of the first cannot be removed or
//! made writable.
//!
//! A build as root without build users is root of the machine in its user namespace too, where file permissions alone
//! protect nothing. These mounts therefore hold with and without Nix's sandbox. The devices and directories are those
//! of Nix's sandbox. (nix: src/libstore/unix/build/local-derivation-goal.cc)

#[cfg(target_os = "linux")]
use std::convert::Infallible;
use std::path::PathBuf;

#[cfg(target_os = "linux")]
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The mounts of a script, and its command.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptIsolation {
    pub root: PathBuf,
    /// The machine's store, and its mount point below the root.
    pub store: (PathBuf, PathBuf),
    /// The directory of the scripts, and its mount point below the root.
    pub scripts: (PathBuf, PathBuf),
    /// The mount point of `/proc` below the root.
    pub proc: PathBuf,
    /// The mount point of `/dev` below the root.
    pub dev: PathBuf,
    /// A file that is created after all mounts.
    pub started: PathBuf,
    /// The program and its arguments.
    pub command: Vec<String>,
}

#[cfg(target_os = "linux")]
impl ScriptIsolation {
    /// Mounts everything in new namespaces, and becomes the command.
    pub fn enter(&self) -> Result<Infallible> {
        use std::{fs::File, os::unix::process::CommandExt, process::Command};

        use crate::mounts;

        let root = mounts::canonical(&self.root)?;
        mounts::make_private()?;
        mounts::bind(&root, &root)?;
        mounts::bind(&self.store.0, &self.store.1)?;
        mounts::make_read_only(&self.store.1)?;
        mounts::mount_proc(&self.proc)?;
        mounts::mount_dev(&self.dev)?;
        mounts::bind(&self.scripts.0, &self.scripts.1)?;
        File::create(&self.started).with_context(|| format!("creating {}", self.started.display()))?;
        mounts::change_root(&root).with_context(|| format!("changing the root to {}", root.display()))?;
        let (program, arguments) = self.command.split_first().context("no program")?;
        Err(Command::new(program).args(arguments).exec()).with_context(|| format!("starting {program}"))
    }
}
