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
use crate::layer::{Owner, Owners};

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
    let difference = Difference::between(before, &after);
    fs::create_dir(layer).with_context(|| format!("creating {}", layer.display()))?;
    let owners = difference.move_new(root, layer)?;
    difference.mark_gone(layer)?;
    Ok(owners)
}

/// What is different, as paths below the root.
struct Difference<'a> {
    after: &'a Snapshot,
    /// What is new or changed.
    new: BTreeSet<&'a Path>,
    /// Directories that are others than before, which hide what the old ones had.
    opaque: BTreeSet<&'a Path>,
    gone: Vec<&'a Path>,
}

impl<'a> Difference<'a> {
    fn between(before: &'a Snapshot, after: &'a Snapshot) -> Self {
        // Attributes of a directory count; a new inode makes it another one.
        let is_new = |(path, seen): &(&'a PathBuf, &Seen)| before.0.get(*path) != Some(*seen);
        let is_opaque = |(path, seen): &(&'a PathBuf, &Seen)| {
            let old = before.0.get(*path);
            old.is_some_and(|old| old.is_directory && seen.is_directory && old.inode != seen.inode)
        };
        let path = |(path, _): (&'a PathBuf, &Seen)| path.as_path();
        let new = after.0.iter().filter(is_new).map(path).collect();
        let opaque: BTreeSet<&Path> = after.0.iter().filter(is_opaque).map(path).collect();
        // What lies in something that is gone, or no directory now, goes with it.
        let is_directory = |path: &Path| after.0.get(path).is_some_and(|seen| seen.is_directory);
        let goes_alone = |path: &&Path| path.parent().is_some_and(|up| is_directory(up) && !opaque.contains(up));
        let gone = before.0.keys().filter(|path| !after.0.contains_key(*path)).map(PathBuf::as_path);
        let gone = gone.filter(goes_alone).collect();
        Self { after, new, opaque, gone }
    }

    /// What is new and the directories that lead to it, or to what is gone, parents first.
    fn paths(&self) -> BTreeSet<&'a Path> {
        let parents = self.new.iter().chain(&self.gone).flat_map(|path| path.ancestors().skip(1));
        parents.chain(self.new.iter().copied()).collect()
    }

    fn move_new(&self, root: &Path, layer: &Path) -> Result<Owners> {
        let mut owners = Owners::new();
        for path in self.paths() {
            let (from, to) = (root.join(path), layer.join(path));
            let seen = &self.after.0[path];
            let moved = match seen.is_directory {
                true if path.as_os_str().is_empty() => Ok(()),
                true => fs::create_dir(&to),
                false => fs::rename(&from, &to),
            };
            let hide = || if self.opaque.contains(path) { fs::write(to.join(".wh..wh..opq"), b"") } else { Ok(()) };
            moved.and_then(|()| hide()).with_context(|| format!("moving {}", from.display()))?;
            owners.insert(to, seen.owner.clone());
        }
        Ok(owners)
    }

    fn mark_gone(&self, layer: &Path) -> Result<()> {
        for path in &self.gone {
            let mut name = OsString::from(".wh.");
            name.push(path.file_name().unwrap_or_default());
            let mark = layer.join(path).with_file_name(name);
            fs::write(&mark, b"").with_context(|| format!("writing {}", mark.display()))?;
        }
        Ok(())
    }
}
