//! User namespaces that map one user and one group of the machine.

use std::{fs, io};

use anyhow::{Context, Result};
use rustix::{
    process::{getegid, geteuid},
    thread::UnshareFlags,
};

/// Enters a new user namespace and the other namespaces in `new`. The process has the ids `uid` and `gid` there.
///
/// # Errors
///
/// If the kernel reports an error, or this process has several threads.
pub fn enter_user_namespace(new: UnshareFlags, uid: u32, gid: u32) -> Result<()> {
    let (own_uid, own_gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(new | UnshareFlags::NEWUSER).context("entering a user namespace")?;
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{uid} {own_uid} 1")),
        ("gid_map", format!("{gid} {own_gid} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), text)
            .with_context(|| format!("mapping user {uid} and group {gid}: writing {file}"))?;
    }
    Ok(())
}

/// rustix deprecates its safe function because of one flag, which takes file descriptors away from other threads. That
/// flag is never used here, and the process has a single thread: otherwise the kernel refuses a user namespace.
#[expect(deprecated)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    Ok(rustix::thread::unshare(flags)?)
}
