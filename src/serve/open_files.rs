//! The limit of open files, which bounds connections: a server that reached it cannot accept further ones.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of files that are reserved for layers being made and for the program itself.
const RESERVED: u64 = 256;

/// Raises the limit of the process to the maximum, and returns the number of connections that it allows.
pub fn available() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` means unlimited.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    let connections = limit.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVED).max(limit / 2));
    usize::try_from(connections).unwrap_or(usize::MAX).max(1)
}
