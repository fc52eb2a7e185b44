//! Names that the files of an image must not have.
//!
//! ```text
//! .wh.NAME          in a layer, it deletes NAME of the layers below, and is never unpacked itself
//! /nix, /nix/store  a link at this path hides the store paths of the layers below
//! ```
//!
//! (image-spec: layer.md, Whiteouts; podman issue 3582)

use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail, ensure};

use super::walk::walk;
use crate::layer::whiteout::Marker;

const REMEDY: &str =
    "begins with .wh., and container engines delete the file of that name from the layers below instead";

/// Errors if the file at `source`, a file of a package, must not be in an image.
pub fn check_name(source: &Path) -> Result<()> {
    let name = source.file_name().unwrap_or_default();
    ensure!(
        Marker::parse(name.as_bytes()).is_none(),
        "{}: its name {REMEDY}; leave the file out of the image, or rename it",
        source.display()
    );
    Ok(())
}

/// Checks the names that the script of `argument` left at and below `root`, except for the expected `whiteouts`.
pub fn check_names(argument: &str, root: &Path, whiteouts: &BTreeSet<PathBuf>) -> Result<()> {
    walk(root, &mut |path, _| {
        let is_reserved = path != root && Marker::parse(path.file_name().unwrap_or_default().as_bytes()).is_some();
        ensure!(
            !is_reserved || whiteouts.contains(path),
            "argument {argument}: the script makes /{}: its name {REMEDY}; to delete files of a base image, use rm in \
             runAsRoot",
            path.strip_prefix(root).unwrap_or(path).display()
        );
        Ok(())
    })
}

/// Returns the whiteouts at and below `root`.
pub fn whiteouts(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    walk(root, &mut |path, _| {
        if Marker::parse(path.file_name().unwrap_or_default().as_bytes()).is_some() {
            found.insert(path.to_owned());
        }
        Ok(())
    })?;
    Ok(found)
}

/// Errors if the package replaces `/nix` or the store when its files are copied to the root of an image.
pub fn check_package(package: &Path) -> Result<()> {
    match in_place_of_store(package) {
        None => Ok(()),
        Some((place, kind)) => {
            bail!("{}: it {}", package.join(&place).display(), hides_store(&place, kind))
        }
    }
}

/// Errors if a file that the script of `argument` made replaces `/nix` or the store.
pub fn check_store(argument: &str, root: &Path) -> Result<()> {
    match in_place_of_store(root) {
        None => Ok(()),
        Some((place, kind)) => {
            bail!("argument {argument}: the script makes /{}: it {}", place.display(), hides_store(&place, kind))
        }
    }
}

fn hides_store(place: &Path, kind: &str) -> String {
    format!(
        "is {kind} in place of the directory /{}, and would hide the store paths of the image: nothing could start; leave it \
         out",
        place.display()
    )
}

/// Returns a path at or above the store in `root` that is not a directory, relative to `root`, and its type.
fn in_place_of_store(root: &Path) -> Option<(PathBuf, &'static str)> {
    let store = std::env::var("NIX_STORE").unwrap_or_else(|_| "/nix/store".to_owned());
    let mut place = PathBuf::new();
    for name in Path::new(&store).strip_prefix("/").ok()? {
        place.push(name);
        let there = fs::symlink_metadata(root.join(&place)).ok()?;
        if !there.is_dir() {
            return Some((place, if there.is_symlink() { "a link" } else { "a file" }));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_place_of_the_store_are_refused() {
        for (place, directory) in [("nix", ""), ("nix/store", "nix")] {
            let top = tempfile::tempdir().unwrap();
            fs::create_dir_all(top.path().join(directory)).unwrap();
            check_store("extraCommands", top.path()).unwrap();
            std::os::unix::fs::symlink("/elsewhere", top.path().join(place)).unwrap();
            let error = check_store("extraCommands", top.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("extraCommands: the script makes /{place}: it is a link")), "{error}");
            assert!(check_package(top.path()).is_err());
        }
    }
}
