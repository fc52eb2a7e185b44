//! Moves files that a layer has at the path of a base image's link to a directory into the target of that link.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{BaseEntry, BaseTree};
use crate::layer::{Owner, Owners};

impl BaseTree {
    /// Moves the files that the layer at `root` has at the path of a link into the directory that is the link's target.
    pub fn follow(&self, root: &Path, owners: &mut Owners) -> Result<()> {
        let in_layer = |path: &PathBuf| fs::symlink_metadata(root.join(path)).is_ok_and(|there| there.is_dir());
        let links: Vec<(&PathBuf, PathBuf)> =
            self.0.keys().filter_map(|path| Some((path, self.directory_target(path)?))).collect();
        // A moved file may be at the path of another link.
        while let Some((from, to)) = links.iter().find(|(path, _)| in_layer(path)) {
            // The directory moves aside first, since it may contain a file of its own name.
            let aside = tempfile::tempdir_in(root.parent().unwrap_or(root)).context("making a directory")?;
            let files = aside.path().join("files");
            let moved = rename(&root.join(from), &files, owners)
                .and_then(|()| self.make(to, root, owners))
                .and_then(|()| merge(&files, &root.join(to), owners));
            moved.with_context(|| {
                format!(
                    "the base image's /{} is a link to /{}, so files of both are at one place; keepBaseDirlinks = false \
                     replaces the link",
                    from.display(),
                    to.display()
                )
            })?;
        }
        Ok(())
    }

    /// Makes the directory `path` in the layer with the owner and mode of the base image's directory.
    fn make(&self, path: &Path, root: &Path, owners: &mut Owners) -> Result<()> {
        for above in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            let place = root.join(above);
            match fs::symlink_metadata(&place) {
                Ok(there) if there.is_dir() => continue,
                Ok(_) => {
                    bail!("/{} is a directory of the base image, and the image has another file there", above.display())
                }
                Err(_) => {}
            }
            fs::create_dir(&place).with_context(|| format!("creating {}", place.display()))?;
            if let Some(&BaseEntry::Directory { mode, uid, gid }) = self.0.get(above) {
                owners.insert(place, Owner { mode: 0o040000 | mode, uid, gid, ..Owner::default() });
            }
        }
        Ok(())
    }
}

/// Moves the contents of the directory `from` into the directory `to`, with their recorded owners.
fn merge(from: &Path, to: &Path, owners: &mut Owners) -> Result<()> {
    let reading = || format!("listing {}", from.display());
    for entry in fs::read_dir(from).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        let (source, target) = (from.join(&name), to.join(&name));
        let moving = || format!("moving {} to {}", source.display(), target.display());
        let kind = fs::symlink_metadata(&source).with_context(moving)?;
        match fs::symlink_metadata(&target) {
            Err(_) => rename(&source, &target, owners)?,
            Ok(there) if there.is_dir() && kind.is_dir() => merge(&source, &target, owners)?,
            Ok(there) if is_same(&source, &kind, &target, &there).with_context(moving)? => {
                fs::remove_file(&source).with_context(moving)?;
                owners.remove(&source);
            }
            Ok(_) => bail!("{} occurs twice", name.display()),
        }
    }
    owners.remove(from);
    fs::remove_dir(from).with_context(|| format!("removing {}", from.display()))
}

/// Moves a file or a directory, with the recorded owners.
fn rename(from: &Path, to: &Path, owners: &mut Owners) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("moving {} to {}", from.display(), to.display()))?;
    let moved: Vec<PathBuf> = owners.keys().filter(|path| path.starts_with(from)).cloned().collect();
    for path in moved {
        let below = path.strip_prefix(from)?;
        let place = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        owners.remove(&path).map(|owner| owners.insert(place, owner));
    }
    Ok(())
}

/// Whether two links have the same target, or two files the same contents.
fn is_same(one: &Path, of_one: &fs::Metadata, two: &Path, of_two: &fs::Metadata) -> io::Result<bool> {
    if of_one.is_symlink() && of_two.is_symlink() {
        return Ok(fs::read_link(one)? == fs::read_link(two)?);
    }
    let are_files = of_one.is_file() && of_two.is_file() && of_one.len() == of_two.len();
    Ok(are_files && fs::read(one)? == fs::read(two)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::{super::tests::below, *};

    #[test]
    fn files_in_place_of_a_base_link_are_moved_to_its_target() {
        let scratch = tempfile::tempdir().unwrap();
        let root = &scratch.path().join("root");
        let below = below(&[&["usr/", "usr/bin/", "bin -> usr/bin", "usr/bin/X11 -> .", "up -> ."]]);
        for directory in ["bin/X11/X11/sub", "usr/bin", "up/up/deep"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in ["bin/one", "bin/X11/two", "usr/bin/three", "up/up/four"] {
            fs::write(root.join(file), file).unwrap();
        }
        symlink("x", root.join("bin/same")).unwrap();
        symlink("x", root.join("usr/bin/same")).unwrap();
        let note = |uid| Owner { mode: 0o104755, uid, ..Owner::default() };
        let mut owners = Owners::from([(root.join("bin/one"), note(1)), (root.join("bin/X11/two"), note(2))]);
        assert_eq!(below.replaced_by(root), Some((PathBuf::from("bin"), PathBuf::from("usr/bin"))));
        below.follow(root, &mut owners).unwrap();
        for file in ["one", "two", "three", "sub", "same"] {
            assert!(fs::symlink_metadata(root.join("usr/bin").join(file)).is_ok(), "{file}");
        }
        assert!(
            !root.join("bin").exists()
                && !root.join("usr/bin/X11").exists()
                && root.join("four").exists()
                && !root.join("up").exists()
        );
        assert_eq!(owners.get(&root.join("usr/bin/one")), Some(&note(1)));
        assert_eq!(owners.get(&root.join("usr/bin/two")), Some(&note(2)));
        assert_eq!(below.replaced_by(root), None);

        // Directories that are made for a link have the mode of the base image; two different files at one path are an
        // error.
        fs::remove_dir_all(root.join("usr")).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/one"), "1").unwrap();
        below.follow(root, &mut owners).unwrap();
        assert_eq!(
            owners.get(&root.join("usr/bin")),
            Some(&Owner { mode: 0o041777, uid: 3, gid: 4, ..Owner::default() })
        );
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/one"), "2").unwrap();
        let error = format!("{:#}", below.follow(root, &mut owners).unwrap_err());
        assert!(error.contains("/bin is a link to /usr/bin") && error.contains("one occurs twice"), "{error}");
    }
}
