//! `copyToRoot`, copied into a root file system with the semantics of rsync's `--copy-dirlinks` and `--keep-dirlinks`.
//!
//! ```text
//! in a package          in the root                becomes
//! bin/                  nothing, a file            a directory, 0755, root's
//! bin/                  bin -> usr/bin             files of usr/bin: the link stays
//! lib64 -> lib          nothing                    a directory; kept as it is on demand
//! etc/x                 anything                   the file, root's
//! ```
//!
//! The recorded owner and mode of a replaced file are removed too, so that they do not apply to the new file.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::reserved;
use crate::layer::{Dirlinks, Owners, rooted::Rooted, unpack};

/// Copies packages into `root`, whose recorded owners are `owners`.
pub struct Copies<'a> {
    pub root: &'a Path,
    pub owners: &'a mut Owners,
    /// Whether links to directories stay links.
    pub keep_dirlinks: bool,
    /// The argument whose value is copied, for messages.
    pub argument: &'a str,
}

impl Copies<'_> {
    /// Copies the files of each of `contents`, over existing files.
    pub fn copy(&mut self, contents: &[PathBuf]) -> Result<()> {
        let root = self.root;
        fs::create_dir_all(root).with_context(|| format!("creating {}", root.display()))?;
        for from in contents {
            let metadata = fs::metadata(from).with_context(|| format!("copying {}", from.display()))?;
            if !metadata.is_dir() {
                bail!(
                    "argument {}: {} is a file; put it in a directory (writeTextDir, for example)",
                    self.argument,
                    from.display()
                );
            }
            reserved::check_package(from).with_context(|| format!("argument {}", self.argument))?;
            let dirlinks = if self.keep_dirlinks { None } else { Some(Dirlinks::new(from)?) };
            self.directory(from, root, dirlinks.as_ref())?;
        }
        Ok(())
    }

    fn directory(&mut self, from: &Path, to: &Path, dirlinks: Option<&Dirlinks>) -> Result<()> {
        for name in names(from)? {
            let (source, target) = (from.join(&name), to.join(&name));
            self.entry(&source, &target, dirlinks).with_context(|| format!("copying {}", source.display()))?;
        }
        Ok(())
    }

    fn entry(&mut self, source: &Path, target: &Path, dirlinks: Option<&Dirlinks>) -> Result<()> {
        reserved::check_name(source)?;
        let kind = fs::symlink_metadata(source)?;
        if kind.is_dir() || (kind.is_symlink() && dirlinks.is_some_and(|all| all.directory_of(source).is_some())) {
            if let Some(link_target) = self.link_target(target)? {
                return self.directory(source, &link_target, dirlinks);
            }
            if fs::symlink_metadata(target).is_ok_and(|there| there.is_dir()) {
                // The contents of the directory stay, but its recorded owner is removed.
                self.owners.remove(target);
            } else {
                unpack::remove(target, self.owners)?;
                fs::create_dir(target)?;
            }
            fs::set_permissions(target, Permissions::from_mode(0o755))?;
            return self.directory(source, target, dirlinks);
        }
        unpack::remove(target, self.owners)?;
        if kind.is_symlink() {
            symlink(fs::read_link(source)?, target)?;
        } else {
            fs::copy(source, target)?;
        }
        Ok(())
    }

    /// Returns the directory in the root that is the target of the link at `target`. Directories of the store are
    /// excluded: no file is added to them.
    fn link_target(&self, target: &Path) -> Result<Option<PathBuf>> {
        if !target.is_symlink() {
            return Ok(None);
        }
        let below = target.strip_prefix(self.root)?;
        let Ok(link_target) = Rooted::open(self.root)?.find(below) else { return Ok(None) };
        let store = std::env::var_os("NIX_STORE").unwrap_or_else(|| "/nix/store".into());
        let store = self.root.join(Path::new(&store).strip_prefix("/")?);
        Ok(Some(link_target.path().to_owned()).filter(|link_target| !link_target.starts_with(store)))
    }
}

/// Copies a tree to another file system, with its permission bits. Owners are recorded elsewhere.
pub fn tree(from: &Path, to: &Path) -> std::io::Result<()> {
    let kind = fs::symlink_metadata(from)?;
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)
    } else if kind.is_dir() {
        fs::create_dir(to)?;
        fs::read_dir(from)?.try_for_each(|entry| {
            let name = entry?.file_name();
            tree(&from.join(&name), &to.join(&name))
        })
    } else {
        let mut file = fs::File::create_new(to)?;
        std::io::copy(&mut fs::File::open(from)?, &mut file)?;
        file.set_permissions(Permissions::from_mode(kind.mode() & 0o777 | 0o200))
    }
}

fn names(directory: &Path) -> Result<Vec<OsString>> {
    let mut names = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("listing {}", directory.display()))?;
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Owner;

    fn owner_record(mode: u32, uid: u64) -> Owner {
        Owner { mode, uid, gid: uid, ..Owner::default() }
    }

    #[test]
    fn replaced_files_lose_their_recorded_owners() {
        let top = tempfile::tempdir().unwrap();
        let (root, package) = (top.path().join("root"), top.path().join("package"));
        for directory in ["root/etc/d", "root/usr/bin", "package/etc", "package/bin"] {
            fs::create_dir_all(top.path().join(directory)).unwrap();
        }
        let mut owners = Owners::new();
        for (name, mode) in [("x", 0o104777), ("z", 0o100600), ("d/file", 0o100666), ("kept", 0o104711)] {
            fs::write(root.join("etc").join(name), "base").unwrap();
            owners.insert(root.join("etc").join(name), owner_record(mode, 33));
        }
        owners.insert(root.join("etc"), owner_record(0o041777, 33));
        symlink("kept", root.join("etc/y")).unwrap();
        owners.insert(root.join("etc/y"), owner_record(0o120777, 0));
        symlink("usr/bin", root.join("bin")).unwrap();
        owners.insert(root.join("bin"), owner_record(0o120777, 0));
        for name in ["x", "y", "z", "d"] {
            fs::write(package.join("etc").join(name), "package").unwrap();
        }
        fs::write(package.join("bin/tool"), "package").unwrap();

        Copies { root: &root, owners: &mut owners, keep_dirlinks: false, argument: "copyToRoot" }
            .copy(&[package])
            .unwrap();
        let mut remaining: Vec<_> = owners.keys().map(|path| path.strip_prefix(&root).unwrap()).collect();
        remaining.sort_unstable();
        assert_eq!(remaining, [Path::new("bin"), Path::new("etc/kept")]);
        assert_eq!(fs::read_link(root.join("bin")).unwrap(), Path::new("usr/bin"));
        assert!(root.join("usr/bin/tool").is_file());
        assert_eq!(fs::metadata(root.join("etc")).unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    fn links_of_the_root_cannot_lead_out_of_it() {
        let top = tempfile::tempdir().unwrap();
        let (root, package, outside) =
            (top.path().join("root"), top.path().join("package"), top.path().join("outside"));
        for directory in [&root, &outside, &package.join("data"), &package.join("up")] {
            fs::create_dir_all(directory).unwrap();
        }
        symlink(&outside, root.join("data")).unwrap();
        symlink("../outside", root.join("up")).unwrap();
        fs::write(package.join("data/file"), "x").unwrap();
        fs::write(package.join("up/file"), "x").unwrap();
        Copies { root: &root, owners: &mut Owners::new(), keep_dirlinks: true, argument: "copyToRoot" }
            .copy(&[package])
            .unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert!(root.join("data/file").is_file() && root.join("up/file").is_file());
    }
}
