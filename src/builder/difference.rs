//! The changes that a script made to a root file system, as a separate layer.
//!
//! ```text
//! new or changed        the file, moved to the layer below its parent directories
//! removed               .wh.NAME
//! ```
//! Only names, attributes and contents are compared. Inode numbers and time stamps depend on the file system of the
//! build directory: with a resolution of a second, a time stamp does not change with every write, and inode numbers are
//! reused. A directory that is removed and made again is therefore the same directory, without the names that it lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rayon::prelude::*;

use super::walk::{plain_owner, walk};
use crate::{
    layer::{Owner, Owners, whiteout},
    oci::{Digest, Sha256Writer},
};

/// The state of a root file system at one moment.
pub struct Snapshot(BTreeMap<PathBuf, FileState>);

#[derive(PartialEq, Eq)]
struct FileState {
    content: FileContent,
    owner: Owner,
}

#[derive(PartialEq, Eq)]
enum FileContent {
    Directory,
    File(Digest),
    Symlink(PathBuf),
}

impl Snapshot {
    /// Reads the state of `root`, in which fakeroot recorded `owners`.
    pub fn read(root: &Path, owners: &Owners) -> Result<Self> {
        let mut files = Vec::new();
        walk(root, &mut |path, file| {
            let owner = owners.get(path).cloned().unwrap_or_else(|| plain_owner(file));
            files.push((path.to_owned(), file.file_type(), owner));
            Ok(())
        })?;
        let seen = files.into_par_iter().map(|(path, kind, owner)| {
            let content = FileContent::read(&path, kind).with_context(|| format!("reading {}", path.display()))?;
            Ok((path.strip_prefix(root).unwrap_or(&path).to_owned(), FileState { content, owner }))
        });
        Ok(Self(seen.collect::<Result<_>>()?))
    }
}

impl FileContent {
    fn read(path: &Path, kind: fs::FileType) -> io::Result<Self> {
        if kind.is_dir() {
            Ok(Self::Directory)
        } else if kind.is_symlink() {
            fs::read_link(path).map(Self::Symlink)
        } else {
            // Pipes and sockets have no contents, and opening a pipe waits for its other end.
            let mut hash = Sha256Writer::new(io::sink());
            if kind.is_file() {
                io::copy(&mut File::open(path)?, &mut hash)?;
            }
            Ok(Self::File(hash.finish().1))
        }
    }
}

impl FileState {
    fn is_directory(&self) -> bool {
        self.content == FileContent::Directory
    }
}

/// Moves the files that are new or changed since `before` from `root` to `layer`, a directory that this function makes.
/// Returns the owners of the files in the layer.
pub fn extract(before: &Snapshot, root: &Path, owners: &Owners, layer: &Path) -> Result<Owners> {
    let after = Snapshot::read(root, owners)?;
    let difference = TreeDifference::between(before, &after);
    fs::create_dir(layer).with_context(|| format!("creating {}", layer.display()))?;
    let owners = difference.move_new(root, layer)?;
    difference.mark_gone(layer)?;
    Ok(owners)
}

/// The differences, as paths below the root.
struct TreeDifference<'a> {
    after: &'a Snapshot,
    /// New and changed paths.
    new: BTreeSet<&'a Path>,
    gone: Vec<&'a Path>,
}

impl<'a> TreeDifference<'a> {
    fn between(before: &'a Snapshot, after: &'a Snapshot) -> Self {
        let is_new = |(path, seen): &(&'a PathBuf, &FileState)| before.0.get(*path) != Some(*seen);
        let new = after.0.iter().filter(is_new).map(|(path, _)| path.as_path()).collect();
        // A removed path needs no whiteout if its parent directory is removed too, or is no directory any more.
        let goes_alone =
            |path: &&Path| path.parent().is_some_and(|up| after.0.get(up).is_some_and(FileState::is_directory));
        let gone = before.0.keys().filter(|path| !after.0.contains_key(*path)).map(PathBuf::as_path);
        let gone = gone.filter(goes_alone).collect();
        Self { after, new, gone }
    }

    /// Returns the new paths, and the directories above new and removed paths, parents first.
    fn paths(&self) -> BTreeSet<&'a Path> {
        let parents = self.new.iter().chain(&self.gone).flat_map(|path| path.ancestors().skip(1));
        parents.chain(self.new.iter().copied()).collect()
    }

    fn move_new(&self, root: &Path, layer: &Path) -> Result<Owners> {
        let mut owners = Owners::new();
        for path in self.paths() {
            let (from, to) = (root.join(path), layer.join(path));
            let seen = &self.after.0[path];
            let moved = match seen.is_directory() {
                true if path.as_os_str().is_empty() => Ok(()),
                true => fs::create_dir(&to),
                false => fs::rename(&from, &to),
            };
            moved.with_context(|| format!("moving {}", from.display()))?;
            owners.insert(to, seen.owner.clone());
        }
        Ok(owners)
    }

    fn mark_gone(&self, layer: &Path) -> Result<()> {
        for path in &self.gone {
            let mark = layer.join(path).with_file_name(whiteout::name_of(path.file_name().unwrap_or_default()));
            fs::write(&mark, b"").with_context(|| format!("writing {}", mark.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Returns the contents of the layer after `change`, which changes a root with `etc/{a,b}`, `etc/d/x` and
    /// `etc/link`.
    fn layer_after(change: impl FnOnce(&Path)) -> Vec<String> {
        let top = tempfile::tempdir().unwrap();
        let (root, layer) = (top.path().join("root"), top.path().join("layer"));
        fs::create_dir_all(root.join("etc/d")).unwrap();
        for name in ["a", "b", "d/x"] {
            fs::write(root.join("etc").join(name), name).unwrap();
        }
        symlink("a", root.join("etc/link")).unwrap();
        let before = Snapshot::read(&root, &Owners::new()).unwrap();
        change(&root.join("etc"));
        extract(&before, &root, &Owners::new(), &layer).unwrap();
        let mut names = Vec::new();
        walk(&layer, &mut |path, _| {
            names.push(path.strip_prefix(&layer).unwrap().display().to_string());
            Ok(())
        })
        .unwrap();
        names.split_off(1)
    }

    #[test]
    fn contents_decide_and_time_stamps_do_not() {
        let stamp = std::time::SystemTime::UNIX_EPOCH;
        let rewritten = layer_after(|etc| {
            let file = File::options().write(true).open(etc.join("a")).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            // The new contents have the same length and time.
            fs::write(etc.join("a"), "A").unwrap();
            file.set_modified(modified).unwrap();
            // The new file has the same bytes, but another inode and time.
            fs::remove_file(etc.join("b")).unwrap();
            fs::write(etc.join("b"), "b").unwrap();
            File::options().write(true).open(etc.join("b")).unwrap().set_modified(stamp).unwrap();
        });
        assert_eq!(rewritten, ["etc", "etc/a"]);
    }

    #[test]
    fn a_directory_made_again_lacks_its_old_names() {
        let again = layer_after(|etc| {
            fs::remove_dir_all(etc.join("d")).unwrap();
            fs::create_dir(etc.join("d")).unwrap();
            fs::write(etc.join("d/y"), "y").unwrap();
        });
        assert_eq!(again, ["etc", "etc/d", "etc/d/.wh.x", "etc/d/y"]);
        let replaced = layer_after(|etc| {
            fs::remove_dir_all(etc.join("d")).unwrap();
            fs::write(etc.join("d"), "file").unwrap();
            fs::remove_file(etc.join("link")).unwrap();
            symlink("b", etc.join("link")).unwrap();
            fs::remove_file(etc.join("a")).unwrap();
            fs::create_dir(etc.join("a")).unwrap();
        });
        assert_eq!(replaced, ["etc", "etc/a", "etc/d", "etc/link"]);
    }
}
