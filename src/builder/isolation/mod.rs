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
mod mounts;

use std::path::PathBuf;

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
