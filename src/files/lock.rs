//! Locks of directories that several processes write to.
//!
//! ```text
//! .strata.lock   "process 1234 (strata copy)": the process that holds the lock; only its user can open the file
//! ```
//!
//! Every process that can open a file or a directory can lock it (flock(2)). If the directory itself were the lock, every
//! user with read access could keep writers waiting. The holder removes the file before it releases the lock. A process that
//! gets the lock of a removed file tries again.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
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
/// The number of bytes of the file that messages show.
const HOLDER_LIMIT: u64 = 200;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct FileLock {
    path: PathBuf,
    _file: File,
}

impl Drop for FileLock {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// Waits for the exclusive lock of `directory`, up to a minute.
///
/// # Errors
///
/// If the lock file cannot be made in the directory, or another process holds the lock for longer. The error names it.
pub fn lock_directory(directory: &Path) -> io::Result<FileLock> {
    lock_within(directory, LIMIT)
}

fn lock_within(directory: &Path, limit: Duration) -> io::Result<FileLock> {
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

/// Returns the lock, or the process that holds it.
fn try_lock(path: &Path) -> io::Result<Result<FileLock, String>> {
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
        // Some file systems have no locks. Concurrent writers are not separated there.
        Err(Errno::BADF | Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    let is_current = fs::symlink_metadata(path).is_ok_and(|current_file| {
        file.metadata()
            .is_ok_and(|held_file| (held_file.dev(), held_file.ino()) == (current_file.dev(), current_file.ino()))
    });
    if !is_current {
        return Ok(Err("a process that has just ended".to_owned()));
    }
    // If the file had another name, its contents would be lost.
    if !is_lock_file(&file.metadata()?) {
        let what = format!(
            "{} is not a lock file: it has a second name (hard link) or is not a regular file; remove it",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    file.set_len(0)?;
    file.write_all(description(env::args_os()).as_bytes())?;
    Ok(Ok(FileLock { path: path.to_owned(), _file: file }))
}

fn is_lock_file(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.nlink() == 1
}

/// Returns the number and the subcommand of this process. Other arguments may contain passwords, and the file may remain in
/// a directory that is published.
fn description(arguments: impl IntoIterator<Item = OsString>) -> String {
    let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
    let program = arguments.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    let is_word = |text: &String| text.starts_with(|c: char| c.is_ascii_lowercase()) && is_plain(text);
    let subcommand = arguments.next().filter(is_word).map(|word| format!(" {word}")).unwrap_or_default();
    format!("process {} ({program}{subcommand})", std::process::id())
}

fn is_plain(text: &str) -> bool {
    text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    drop(file.take(HOLDER_LIMIT).read_to_end(&mut text));
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
    fn a_hard_link_in_place_of_the_lock_file_keeps_its_contents() {
        let directory = tempfile::tempdir().unwrap();
        let other = directory.path().join("other");
        fs::write(&other, "content").unwrap();
        fs::hard_link(&other, directory.path().join(NAME)).unwrap();
        let error = lock_within(directory.path(), Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("is not a lock file"), "{error}");
        assert_eq!(fs::read(&other).unwrap(), b"content");
    }

    #[test]
    fn lock_files_contain_only_the_subcommand() {
        let describe = |arguments: &[&str]| description(arguments.iter().map(OsString::from));
        let process = format!("process {}", std::process::id());
        for arguments in [&["copy", "--src-creds=alice:hunter2"][..], &["copy", "alice:hunter2"], &["copy"]] {
            let found = describe(&[&["/bin/strata"], arguments].concat());
            assert_eq!(found, format!("{process} (strata copy)"));
        }
        for argument in ["--password=hunter2", "-phunter2", "hunter2", "Hunter", "http://alice:hunter@host", "", "."] {
            assert_eq!(describe(&["strata", argument]), format!("{process} (strata)"), "{argument}");
        }
    }

    #[test]
    fn a_second_writer_waits_for_the_lock() {
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
