//! Locks of directories that several processes write to.
//!
//! ```text
//! .strata.lock   "1234 strata copy …": the process that holds the lock; only its user can open the file
//! ```
//!
//! Every process that can open a file or a directory can lock it (flock(2)). If the directory itself were the lock, every
//! user with read access could keep writers waiting. The holder removes the file before it releases the lock, and a process that gets the
//! lock of a removed file begins again.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

const NAME: &str = ".strata.lock";
/// Holders write one small file.
const LIMIT: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of a command that are written and shown.
const COMMAND_LIMIT: usize = 200;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// Waits for the exclusive lock of `directory`, up to a minute.
///
/// # Errors
///
/// If no file can be made in the directory, or another process holds the lock for longer; the error names it.
pub fn lock_directory(directory: &Path) -> io::Result<Lock> {
    lock_within(directory, LIMIT)
}

fn lock_within(directory: &Path, limit: Duration) -> io::Result<Lock> {
    let (path, began) = (directory.join(NAME), Instant::now());
    loop {
        let holder = match try_lock(&path)? {
            Ok(lock) => return Ok(lock),
            Err(holder) => holder,
        };
        if began.elapsed() >= limit {
            let message = format!(
                "{} is locked by {holder} for more than {} s; wait for it, or remove {} if it has ended",
                directory.display(),
                limit.as_secs(),
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(INTERVAL);
    }
}

/// The lock, or the process that holds it.
fn try_lock(path: &Path) -> io::Result<Result<Lock, String>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().read(true).write(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.exists() => {
            return Ok(Err("a process of another user".to_owned()));
        }
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(Err(holder(&mut file))),
        // Some file systems lock nothing: processes that write at once are not kept apart there.
        Err(Errno::BADF | Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    let is_current = fs::symlink_metadata(path)
        .is_ok_and(|there| file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino())));
    if !is_current {
        return Ok(Err("a process that has just ended".to_owned()));
    }
    file.set_len(0)?;
    file.write_all(description().as_bytes())?;
    Ok(Ok(Lock { path: path.to_owned(), _file: file }))
}

/// The number and the command of this process.
fn description() -> String {
    let command: Vec<String> = env::args_os().take(3).map(|part| part.to_string_lossy().into_owned()).collect();
    let command: String = command.join(" ").chars().take(COMMAND_LIMIT).collect();
    format!("process {} ({command})", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    drop(file.take(4 * COMMAND_LIMIT as u64).read_to_end(&mut text));
    match String::from_utf8_lossy(&text).trim() {
        "" => "another process".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_lock_waits_with_a_limit_and_names_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        let lock = lock_directory(directory.path()).unwrap();
        let file = directory.path().join(NAME);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let error = lock_within(directory.path(), Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains(&format!("is locked by process {} (", std::process::id())), "{error}");
        drop(lock);
        assert!(!file.exists());
        drop(lock_within(directory.path(), Duration::ZERO).unwrap());
    }

    #[test]
    fn the_lock_of_the_directory_itself_and_files_of_killed_holders_hinder_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let opened = File::open(directory.path()).unwrap();
        flock(&opened, FlockOperation::LockExclusive).unwrap();
        fs::write(directory.path().join(NAME), "process 1 (init)").unwrap();
        drop(lock_within(directory.path(), Duration::ZERO).unwrap());
    }

    #[test]
    fn links_in_the_place_of_the_lock_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        fs::write(&target, "content").unwrap();
        symlink(&target, directory.path().join(NAME)).unwrap();
        lock_within(directory.path(), Duration::ZERO).unwrap_err();
        assert_eq!(fs::read(&target).unwrap(), b"content");
    }

    #[test]
    fn locks_keep_writers_apart() {
        let directory = tempfile::tempdir().unwrap();
        let count = directory.path().join("count");
        fs::write(&count, "0").unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let _lock = lock_directory(directory.path()).unwrap();
                        let number: u32 = fs::read_to_string(&count).unwrap().parse().unwrap();
                        fs::write(&count, (number + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&count).unwrap(), "100");
    }
}
