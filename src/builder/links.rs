//! The files of the customisation layer: `contents` linked at the root of the image.
//!
//! ```text
//! …-coreutils/bin/ls     ──▶  /bin            a directory
//! …-app/bin/app               /bin/ls     ──▶ /nix/store/…-coreutils/bin/ls
//! …-app/etc/app.conf          /bin/app    ──▶ /nix/store/…-app/bin/app
//!                             /etc/app.conf ─▶ …
//! ```
//!
//! Directories stay directories (mode 0755), and every other file is a link to its store path, as in symlinkJoin. If
//! two packages have the same file, the first one is linked, and the log reports it.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{base_tree::BaseTree, reserved};
use crate::terminal::note;

/// Links each of `contents`, the value of `argument`, below `root`, a directory that this function makes.
///
/// A directory of the base image (`below`) stays a directory.
pub fn join(argument: &str, contents: &[PathBuf], root: &Path, below: Option<&BaseTree>) -> Result<()> {
    make_directory(root)?;
    let is_below =
        |path: &Path| below.zip(path.strip_prefix(root).ok()).is_some_and(|(below, path)| below.is_directory(path));
    for content in contents {
        let context = || format!("argument {argument}");
        let kind =
            fs::metadata(content).with_context(|| format!("reading {}", content.display())).with_context(context)?;
        ensure!(
            kind.is_dir(),
            "argument {argument}: {} is a file; only directories can be linked at the root of the image, \
             so put it in one (writeTextDir, for example)",
            content.display()
        );
        reserved::check_package(content).with_context(context)?;
        link(content, root, &is_below).with_context(context)?;
    }
    Ok(())
}

fn link(source: &Path, target: &Path, is_below: &dyn Fn(&Path) -> bool) -> Result<()> {
    let reading = || format!("listing {}", source.display());
    let mut names = fs::read_dir(source)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>())
        .with_context(reading)?;
    names.sort_unstable();
    for name in names {
        let (source, target) = (source.join(&name), target.join(&name));
        reserved::check_name(&source)?;
        let existing = fs::symlink_metadata(&target).ok();
        let source_is_directory = fs::symlink_metadata(&source).with_context(reading)?.is_dir();
        match existing {
            None if source_is_directory || (source.is_dir() && is_below(&target)) => {
                make_directory(&target)?;
                link(&source, &target, is_below)?;
            }
            None => symlink(&source, &target).with_context(|| format!("linking {}", target.display()))?,
            Some(existing) if existing.is_dir() && source.is_dir() => link(&source, &target, is_below)?,
            // A link to a directory becomes a directory if another package adds files to it.
            Some(existing) if existing.is_symlink() && target.is_dir() && source.is_dir() => {
                let first = fs::read_link(&target).with_context(reading)?;
                fs::remove_file(&target).with_context(|| format!("replacing {}", target.display()))?;
                make_directory(&target)?;
                link(&first, &target, is_below)?;
                link(&source, &target, is_below)?;
            }
            Some(existing) => {
                let first = if existing.is_symlink() { fs::read_link(&target)? } else { target };
                if !is_same_file(&first, &source) {
                    note!("Keeping {}, not {}", first.display(), source.display());
                }
            }
        }
    }
    Ok(())
}

/// Whether both paths lead to one file. A package and a package of links to it (buildEnv, symlinkJoin) have the same
/// files.
fn is_same_file(one: &Path, two: &Path) -> bool {
    fs::canonicalize(one).ok().zip(fs::canonicalize(two).ok()).is_some_and(|(one, two)| one == two)
}

fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new().mode(0o755).create(path).with_context(|| format!("creating {}", path.display()))
}
