//! The memory of commands that compress layers: freed buffers are returned to the kernel.
//!
//! glibc gives allocations above a threshold a mapping of their own, which ends when they are freed. Whenever such an allocation is
//! freed, it raises the threshold to its size, up to 32 MiB, so that the next buffers of compressors stay in the arenas of
//! their threads (mallopt(3), `M_MMAP_THRESHOLD`). A push then needs twice the memory of docs/limits.md. A threshold from the
//! environment stays as it is, but is read only when a program starts.

use std::{env, fs, os::unix::process::CommandExt, process};

/// The variable of the threshold, in bytes.
const VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";
/// The program was started again. glibc 2.41 hides [`VARIABLE`] from programs with more rights than their user.
const STARTED: &str = "STRATA_STARTED_AGAIN";
/// Less than the buffers of compressors.
const THRESHOLD: &str = "1000000";

/// Starts the program again with a fixed threshold, unless the environment has one. This takes two milliseconds. Call it before anything
/// else: the process stays the same, with its arguments and open files.
pub fn fix_threshold() {
    if !cfg!(target_env = "gnu") || [VARIABLE, STARTED].iter().any(|name| env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    // `ld.so PROGRAM`: the arguments would not be those of ld.so.
    if program.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"ld")) {
        return;
    }
    // Emulators answer `self` with the program (seen with qemu-user 7.2), which the kernel may not start.
    if fs::read_link("/proc/thread-self/exe").is_ok_and(|started| started != program) {
        return;
    }
    let mut arguments = env::args_os();
    let mut again = process::Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Without it, the command works as well, in more memory.
    let _ = again.args(arguments).envs([(VARIABLE, THRESHOLD), (STARTED, "1")]).exec();
}
