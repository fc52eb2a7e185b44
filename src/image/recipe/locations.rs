//! Which files a recipe may name.
//!
//! A recipe comes from others, and what it names is sent to registries and clients. Everything in a Nix store is
//! readable by every user, so it may name store paths and files in them. A file of its own lies in the recipe's
//! directory. Nothing else is ever read.

use std::{
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
};

use super::{Recipe, materials::in_store};
use crate::{
    files::{self, Beneath, Entry},
    image::{
        ImageError,
        error::{Result, io_error},
    },
};

/// Links from store path to store path, at most; a layout links to a blob of another derivation, which may be a link.
const LINKS: usize = 8;

/// Checks every path of a recipe that was read from `file`, and makes those beside it absolute. Without a `directory`,
/// as of a recipe that came through a pipe, only store paths are allowed.
pub(super) fn check(recipe: &mut Recipe, file: &Path, directory: Option<&Path>) -> Result<()> {
    let real = match directory {
        Some(directory) => Some(fs::canonicalize(directory).map_err(io_error("reading", directory))?),
        None => None,
    };
    let beside = Beside { file, directory: directory.zip(real.as_deref()) };
    for (at, layer) in recipe.layers.iter_mut().enumerate() {
        let what = format!("layer {}", at + 1);
        for path in &mut layer.paths {
            beside.resolve(&mut path.path, &what)?;
        }
        if let Some(blob) = &mut layer.blob {
            beside.resolve(blob, &what)?;
            beside.check_no_link(blob, &what)?;
        }
    }
    // Nothing says which digest these have, so a file beside the recipe could be any file of the user.
    match recipe.attachments.iter().find(|attachment| in_store(&attachment.path).is_none()) {
        Some(attachment) => Err(beside.outside("an attachment", &attachment.path, "it is not a store path")),
        None => Ok(()),
    }
}

/// A recipe that an index lists, which must be a store path.
pub(super) fn recipe_in_store<'a>(recipe: &'a Path, index: &Path) -> Result<&'a Path> {
    match in_store(recipe) {
        Some(_) => Ok(recipe),
        None => Err(Beside { file: index, directory: None }.outside("an image", recipe, "it is not a store path")),
    }
}

struct Beside<'a> {
    file: &'a Path,
    /// The recipe's directory, as it was given and without links.
    directory: Option<(&'a Path, &'a Path)>,
}

impl Beside<'_> {
    fn resolve(&self, path: &mut PathBuf, what: &str) -> Result<()> {
        if in_store(path).is_some() {
            return Ok(());
        }
        let why = "it is neither a store path nor a file in the recipe's directory";
        let Some((given, real)) = self.directory else { return Err(self.outside(what, path, why)) };
        let below = match path.is_absolute() {
            true => path.strip_prefix(real).or_else(|_| path.strip_prefix(given)).ok(),
            false => Some(path.as_path()),
        };
        let is_plain = |below: &&Path| {
            !below.as_os_str().is_empty() && below.components().all(|part| matches!(part, Component::Normal(_)))
        };
        let below = below.filter(is_plain).ok_or_else(|| self.outside(what, path, why))?;
        *path = real.join(below);
        Ok(())
    }

    /// A link beside the recipe may lead anywhere.
    fn check_no_link(&self, path: &Path, what: &str) -> Result<()> {
        let Some((_, real)) = self.directory else { return Ok(()) };
        let Ok(below) = path.strip_prefix(real) else { return Ok(()) };
        if in_store(path).is_some() {
            return Ok(());
        }
        let beneath = Beneath::open(real).map_err(io_error("opening", real))?;
        match beneath.entry(below) {
            Ok(Entry::Link(target)) => {
                Err(self.outside(what, path, &format!("a link on the way to it leads to {}", target.display())))
            }
            // A missing file may be in a registry.
            Ok(Entry::File(_)) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(ImageError::Io { act: "opening", path: path.to_owned(), source }),
        }
    }

    fn outside(&self, what: &str, path: &Path, why: &str) -> ImageError {
        ImageError::Outside {
            file: self.file.to_owned(),
            what: what.to_owned(),
            path: path.to_owned(),
            why: why.to_owned(),
        }
    }
}

/// Opens a file that a recipe or a layout names. In a store, links are followed as long as they lead into a store;
/// elsewhere the path itself was checked when the recipe was read.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    if in_store(path).is_some() { open_in_store(path) } else { files::open_plain(path) }
}

/// Opens a file in a store, through links that lead from store path to store path and no others. Nix's store is readable
/// by every user, so that no link in it discloses anything.
///
/// # Errors
///
/// When it is missing, no regular file, or a link leads out of the store.
pub(crate) fn open_in_store(path: &Path) -> io::Result<File> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let Some((whole, inside)) = in_store(&path) else {
            let what = format!("a link leads to {}, which is not in a Nix store", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        };
        let store = files::directory(whole.as_path());
        let name = Path::new(whole.as_path().file_name().unwrap_or_default()).join(inside);
        // A trailing slash would make a directory of it.
        let name: PathBuf = name.components().collect();
        match Beneath::open(store)?.entry(&name)? {
            Entry::File(file) => return Ok(file),
            Entry::Link(target) => path = plain(&store.join(target)),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {LINKS} links lead to it")))
}

/// The path without `.` and `..`: what comes before them are directories, as [`Beneath`] has seen.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_in_a_store_are_followed_within_it() {
        let top = tempfile::tempdir().unwrap();
        let path = |digit: &str| top.path().join(format!("{}-x", digit.repeat(32)));
        let (blobs, layout, other) = (path("0"), path("1"), path("2"));
        for directory in [&blobs, &layout, &other] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(blobs.join("blob"), "blob").unwrap();
        symlink(blobs.join("blob"), layout.join("absolute")).unwrap();
        symlink(format!("../{}-x/blob", "0".repeat(32)), layout.join("relative")).unwrap();
        symlink(layout.join("absolute"), other.join("twice")).unwrap();
        symlink(&blobs, other.join("directory")).unwrap();
        let found = ["absolute", "relative"].map(|name| layout.join(name));
        for path in found.into_iter().chain([other.join("twice"), other.join("directory/blob"), blobs.join("blob")]) {
            assert!(open_in_store(&path).is_ok(), "{}", path.display());
        }
        let secret = top.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        symlink(&secret, layout.join("out")).unwrap();
        symlink("../secret", layout.join("up")).unwrap();
        symlink("/proc/self/environ", layout.join("process")).unwrap();
        symlink("loop", layout.join("loop")).unwrap();
        for name in ["out", "up", "process", "loop", "missing", "../secret", ""] {
            assert!(open_in_store(&layout.join(name)).is_err(), "{name}");
        }
    }
}
