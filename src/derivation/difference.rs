//! What a script changed in a root file system, as a layer of its own.
//!
//! ```text
//! new or changed        itself, moved here, below its parents
//! gone                  .wh.NAME
//! another directory     itself, with .wh..wh..opq in it
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::walk::walk;
use strata::layer::{Owner, Owners};

/// A root file system at one moment.
pub struct Snapshot(BTreeMap<PathBuf, Seen>);

#[derive(PartialEq, Eq)]
struct Seen {
    inode: u64,
    /// A directory's is that of its entries, which are compared themselves.
    changed: Option<(i64, i64)>,
    is_directory: bool,
    owner: Owner,
}

impl Snapshot {
    /// Of `root`, of which fakeroot noted `owners`.
    pub fn of(root: &Path, owners: &Owners) -> Result<Self> {
        let mut seen = BTreeMap::new();
        walk(root, &mut |path, file| {
            let plain = || Owner { mode: file.mode(), ..Owner::default() };
            let owner = owners.get(path).cloned().unwrap_or_else(plain);
            let changed = (!file.is_dir()).then(|| (file.ctime(), file.ctime_nsec()));
            let below = path.strip_prefix(root).unwrap_or(path).to_owned();
            seen.insert(below, Seen { inode: file.ino(), changed, is_directory: file.is_dir(), owner });
            Ok(())
        })?;
        Ok(Self(seen))
    }
}

/// Moves what is new since `before` from `root` to `layer`, a directory that is made here; who owns what there.
pub fn extract(before: &Snapshot, root: &Path, owners: &Owners, layer: &Path) -> Result<Owners> {
    let after = Snapshot::of(root, owners)?;
    let mut wanted: BTreeSet<&Path> = BTreeSet::new();
    let mut opaque: BTreeSet<&Path> = BTreeSet::new();
    let mut gone: Vec<&Path> = Vec::new();
    for (path, seen) in &after.0 {
        let old = before.0.get(path);
        // Attributes of a directory count; a new inode makes it another one.
        if old != Some(seen) {
            wanted.insert(path);
        }
        if old.is_some_and(|old| old.is_directory && seen.is_directory && old.inode != seen.inode) {
            opaque.insert(path);
        }
    }
    for path in before.0.keys().filter(|path| !after.0.contains_key(*path)) {
        // What lies in something that is gone, or no directory now, goes with it.
        if path
            .parent()
            .is_some_and(|parent| after.0.get(parent).is_some_and(|seen| seen.is_directory) && !opaque.contains(parent))
        {
            gone.push(path);
        }
    }
    let parents = wanted.iter().chain(&gone).flat_map(|path| path.ancestors().skip(1));
    let all: BTreeSet<PathBuf> = parents.chain(wanted.iter().copied()).map(Path::to_owned).collect();

    let mut layer_owners = Owners::new();
    fs::create_dir(layer).with_context(|| format!("creating {}", layer.display()))?;
    for path in &all {
        let (from, to) = (root.join(path), layer.join(path));
        let moving = || format!("moving {}", from.display());
        let seen = &after.0[path];
        if seen.is_directory {
            if !path.as_os_str().is_empty() {
                fs::create_dir(&to).with_context(moving)?;
            }
            if opaque.contains(path.as_path()) {
                fs::write(to.join(".wh..wh..opq"), b"").with_context(moving)?;
            }
        } else {
            fs::rename(&from, &to).with_context(moving)?;
        }
        layer_owners.insert(to, seen.owner.clone());
    }
    for path in gone {
        let mut name = OsString::from(".wh.");
        name.push(path.file_name().unwrap_or_default());
        let mark = layer.join(path).with_file_name(name);
        fs::write(&mark, b"").with_context(|| format!("writing {}", mark.display()))?;
    }
    Ok(layer_owners)
}
