//! The limit of open files, which bounds connections: a server that has reached it accepts nobody.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are not connections: those of the layers being made, and the program's own.
const OTHERS: u64 = 256;

/// Raises the process's limit as far as it may, and returns how many connections it leaves room for.
pub fn available() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(OTHERS).max(limit / 2));
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}
