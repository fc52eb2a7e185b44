//! Watches the local files that a flake is built from.
//!
//! ```text
//! inotify ──▶ an event ──▶ no events for 30 ms ──▶ scan ──▶ another state than before? ──▶ changed
//! ```
//!
//! Events only start a scan, which compares names, sizes and times. Ignored files (`.gitignore`) and `.git` are not
//! scanned, and ignored directories are not watched. `.git/index` is scanned, because flakes in git contain the files
//! that it lists.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::Duration,
};

use anyhow::{Context, Result};
use ignore::{DirEntry, WalkBuilder};
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};

/// The delay after the last event, since editors and git write several files at once.
const QUIET: Duration = Duration::from_millis(30);

/// Directories, and their state at the last scan.
pub struct Sources {
    tops: Vec<PathBuf>,
    watcher: RecommendedWatcher,
    events: Receiver<()>,
    /// The inodes of watched directories.
    watched: BTreeMap<PathBuf, u64>,
    state: u64,
}

impl Sources {
    /// Starts to watch these directories.
    ///
    /// # Errors
    ///
    /// If the system reports an error.
    pub fn open(tops: Vec<PathBuf>) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        let handler = move |event: notify::Result<Event>| {
            // Opening and reading files causes events too, from the scan itself and from Nix.
            if event.is_ok_and(|event| !changes_something(event.kind)) {
                return;
            }
            let _ = sender.send(());
        };
        let watcher = notify::recommended_watcher(handler).context("watching files")?;
        let mut sources = Self { tops, watcher, events, watched: BTreeMap::new(), state: 0 };
        sources.state = sources.scan()?;
        Ok(sources)
    }

    /// Waits until a file has changed since the last call.
    ///
    /// # Errors
    ///
    /// If a new directory cannot be watched.
    pub fn wait(&mut self) -> Result<()> {
        loop {
            self.events.recv().context("watching files")?;
            while !matches!(self.events.recv_timeout(QUIET), Err(RecvTimeoutError::Timeout)) {}
            let state = self.scan()?;
            if state != self.state {
                self.state = state;
                return Ok(());
            }
        }
    }

    /// Returns the state of all files. New directories are watched before they are read.
    fn scan(&mut self) -> Result<u64> {
        loop {
            let mut hasher = DefaultHasher::new();
            let mut found = BTreeMap::new();
            for top in &self.tops {
                // A file may disappear during the scan. An event follows then.
                for entry in walk(top).filter_map(Result::ok) {
                    let Ok(metadata) = entry.metadata() else { continue };
                    entry.path().hash(&mut hasher);
                    if metadata.is_dir() {
                        found.insert(entry.path().to_owned(), metadata.ino());
                    } else {
                        stamp(&metadata).hash(&mut hasher);
                    }
                }
                let git = top.join(".git");
                if let Ok(metadata) = git.join("index").symlink_metadata() {
                    stamp(&metadata).hash(&mut hasher);
                    found.insert(git.clone(), fs::symlink_metadata(&git).map_or(0, |metadata| metadata.ino()));
                }
            }
            let mut is_complete = true;
            for (path, inode) in &found {
                if self.watched.get(path) != Some(inode) {
                    watch(&mut self.watcher, path)?;
                    is_complete = false;
                }
            }
            self.watched = found;
            if is_complete {
                return Ok(hasher.finish());
            }
        }
    }
}

fn changes_something(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn watch(watcher: &mut RecommendedWatcher, path: &Path) -> Result<()> {
    match watcher.watch(path, RecursiveMode::NonRecursive) {
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
            Err(error).with_context(|| format!("watching {}; raise fs.inotify.max_user_watches", path.display()))
        }
        watched => watched.with_context(|| format!("watching {}", path.display())),
    }
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn walk(top: &Path) -> impl Iterator<Item = Result<DirEntry, ignore::Error>> {
    let mut builder = WalkBuilder::new(top);
    // A flake contains the files that git does not ignore, including hidden files. `.ignore` files belong to other
    // programs.
    builder.hidden(false).ignore(false).require_git(false).follow_links(false);
    builder.filter_entry(|entry| entry.file_name() != ".git").sort_by_file_name(Ord::cmp).build()
}

/// Returns the fields that change after a write, a rename or a change of the mode.
fn stamp(metadata: &Metadata) -> [i64; 7] {
    let unsigned = [metadata.ino(), metadata.size(), metadata.mode().into()].map(u64::cast_signed);
    let [inode, size, mode] = unsigned;
    [inode, size, mode, metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each change is followed by a change of `probe`, so that the count differs if a change is not noticed.
    #[test]
    fn changes_of_files_that_are_not_ignored_are_noticed() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        fs::create_dir_all(at(".git")).unwrap();
        fs::create_dir_all(at("ignored/deep")).unwrap();
        fs::write(at(".gitignore"), "ignored\n*.log\n").unwrap();
        fs::write(at("file"), "one").unwrap();
        let mut sources = Sources::open(vec![top.path().to_owned()]).unwrap();
        let changed = |sources: &mut Sources, change: &dyn Fn()| {
            let before = sources.state;
            change();
            let after = sources.scan().unwrap();
            sources.state = after;
            after != before
        };
        for (what, change) in [
            ("a write", &(|| fs::write(at("file"), "two").unwrap()) as &dyn Fn()),
            ("a rename over a file", &|| {
                fs::write(at("file.new"), "six").unwrap();
                fs::rename(at("file.new"), at("file")).unwrap();
            }),
            ("a new directory", &|| fs::create_dir(at("directory")).unwrap()),
            ("a file in it", &|| fs::write(at("directory/file"), "").unwrap()),
            ("another directory in its place", &|| {
                fs::rename(at("directory"), at("other")).unwrap();
                fs::create_dir(at("directory")).unwrap();
            }),
            ("a hidden file", &|| fs::write(at(".hidden"), "").unwrap()),
            ("a removed file", &|| fs::remove_file(at(".hidden")).unwrap()),
            ("the index of git", &|| fs::write(at(".git/index"), "x").unwrap()),
            ("a file that is ignored no more", &|| fs::write(at(".gitignore"), "*.log\n").unwrap()),
        ] {
            assert!(changed(&mut sources, change), "{what}");
        }
        for (what, change) in [
            ("nothing", &(|| ()) as &dyn Fn()),
            ("an ignored file", &|| fs::write(at("x.log"), "x").unwrap()),
            ("another file of git", &|| fs::write(at(".git/HEAD"), "x").unwrap()),
        ] {
            assert!(!changed(&mut sources, change), "{what}");
        }
    }

    #[test]
    fn a_wait_ends_with_a_change_in_a_new_directory() {
        let top = tempfile::tempdir().unwrap();
        let mut sources = Sources::open(vec![top.path().to_owned()]).unwrap();
        for name in ["one", "one/two", "one/two/file"] {
            let path = top.path().join(name);
            let made = if name.ends_with("file") { fs::write(path, "x") } else { fs::create_dir(path) };
            made.unwrap();
            sources.wait().unwrap();
        }
    }
}
