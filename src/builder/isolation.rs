//! The world that a root script runs in: the image's root file system, and of the machine only what a build may use.
//!
//! ```text
//! /                  the image's root; the machine's is detached
//! /nix/store         the store, read-only
//! /proc              of the script's own processes; what does not belong to one of them is read-only: sys, sysrq-trigger, …
//! /dev               null zero full random urandom tty, pts and shm of its own
//! /.strata-scripts   the script
//! ```
//!
//! Nothing of it can be undone from within: the script runs in a second user namespace, in which mounts of the first cannot
//! be removed or made writable.
//!
//! A build as root without build users is the machine's root in its user namespace too, and file permissions alone stop
//! nothing: this holds with and without Nix's sandbox. The devices and directories are those of Nix's sandbox. (nix:
//! src/libstore/unix/build/local-derivation-goal.cc)

#[cfg(target_os = "linux")]
use std::convert::Infallible;
use std::path::PathBuf;

#[cfg(target_os = "linux")]
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What is mounted where, and what runs then.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Isolation {
    /// The image's root file system.
    pub root: PathBuf,
    /// The machine's store, and the directory of the root for it.
    pub store: (PathBuf, PathBuf),
    /// The directory of the scripts, and the directory of the root for it.
    pub scripts: (PathBuf, PathBuf),
    /// The directory of the root for `/proc`.
    pub proc: PathBuf,
    /// The directory of the root for `/dev`.
    pub dev: PathBuf,
    /// Created when everything is mounted.
    pub started: PathBuf,
    /// The program and its arguments.
    pub command: Vec<String>,
}

#[cfg(target_os = "linux")]
impl Isolation {
    /// Mounts everything, in namespaces that belong to this process alone, and becomes the program.
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
