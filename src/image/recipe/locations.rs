//! Restricts the files that a recipe may name.
//!
//! A recipe may come from an untrusted source, and the files that it names are sent to registries and clients. A recipe may
//! name store paths and files in them, because every user can read the Nix store, and files in its own directory. Any other
//! file is refused.

use std::{
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
};

use super::{
    Recipe,
    materials::{in_store, in_store_directory},
};
use crate::{
    closure::{StoreDir, StorePath},
    files::{self, Beneath, DirectoryEntry},
    image::{
        ImageError, NixNode,
        error::{Result, io_error},
        local_store,
    },
};

/// The maximum number of links from store path to store path. An OCI layout may link to a blob of another derivation, which may
/// be a link again.
const MAX_LINKS: usize = 8;

/// Checks all paths of a recipe that was read from `file`, and makes relative paths absolute. Without a `directory`, for
/// example because the recipe comes from a pipe, only store paths are allowed.
pub(super) fn check(recipe: &mut Recipe, file: &Path, directory: Option<&Path>) -> Result<()> {
    let real = match directory {
        Some(directory) => Some(fs::canonicalize(directory).map_err(io_error("reading", directory))?),
        None => None,
    };
    let allowed = AllowedPaths { file, directory: directory.zip(real.as_deref()) };
    for (at, layer) in recipe.layers.iter_mut().enumerate() {
        let what = format!("layer {}", at + 1);
        for path in &mut layer.paths {
            allowed.resolve(&mut path.path, &what)?;
        }
        if let Some(blob) = &mut layer.blob {
            allowed.resolve(blob, &what)?;
            allowed.check_no_link(blob, &what)?;
        }
    }
    let is_in_store = |path: &&Path| path.to_str().is_some_and(|path| local_store().parse(path).is_ok());
    let mut nix_node = recipe.nix_node.iter().flat_map(NixNode::paths);
    if let Some(path) = nix_node.find(|path| !is_in_store(path)) {
        return Err(allowed.outside("nixNode", path, "it is not a store path"));
    }
    // Recipes have no digests of attachments. A file in the directory of the recipe could therefore be any file of the user.
    match recipe.attachments.iter().find(|attachment| in_store(&attachment.path).is_none()) {
        Some(attachment) => Err(allowed.outside("an attachment", &attachment.path, "it is not a store path")),
        None => Ok(()),
    }
}

/// Checks that a recipe in an index is a store path.
pub(super) fn recipe_in_store<'a>(recipe: &'a Path, index: &Path) -> Result<&'a Path> {
    match in_store(recipe) {
        Some(_) => Ok(recipe),
        None => {
            Err(AllowedPaths { file: index, directory: None }.outside("an image", recipe, "it is not a store path"))
        }
    }
}

/// Whether the path has the form of a store path, in any directory.
fn is_store_path(path: &str) -> bool {
    StorePath::parse(path).is_ok()
}

struct AllowedPaths<'a> {
    file: &'a Path,
    /// The directory of the recipe, as given and without links.
    directory: Option<(&'a Path, &'a Path)>,
}

impl AllowedPaths<'_> {
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

    /// Refuses links in the directory of the recipe, because they may lead to any file.
    fn check_no_link(&self, path: &Path, what: &str) -> Result<()> {
        let Some((_, real)) = self.directory else { return Ok(()) };
        let Ok(below) = path.strip_prefix(real) else { return Ok(()) };
        if in_store(path).is_some() {
            return Ok(());
        }
        let beneath = Beneath::open(real).map_err(io_error("opening", real))?;
        match beneath.entry(below) {
            Ok(DirectoryEntry::Link(target)) => {
                Err(self.outside(what, path, &format!("a link on the way to it leads to {}", target.display())))
            }
            // If the file is missing, the blob may be in a registry.
            Ok(DirectoryEntry::File(_)) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(ImageError::Io { act: "opening", path: path.to_owned(), source }),
        }
    }

    fn outside(&self, what: &str, path: &Path, why: &str) -> ImageError {
        let is_of_other_store =
            in_store(path).is_none() && path.ancestors().any(|path| path.to_str().is_some_and(is_store_path));
        let hint = match is_of_other_store {
            true => {
                format!("; the Nix store is {}, and NIX_STORE_DIR sets another one", local_store().as_path().display())
            }
            false => String::new(),
        };
        ImageError::Outside {
            file: self.file.to_owned(),
            what: what.to_owned(),
            path: path.to_owned(),
            why: format!("{why}{hint}"),
        }
    }
}

/// Opens a file that a recipe or a layout names. In the store, links are followed if they lead into it. Other paths were
/// checked when the recipe was read.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    if in_store(path).is_some() { open_in_store(path) } else { files::open_plain(path) }
}

/// Opens a file in the store of this machine. Links are followed if they lead into it, which every user can read.
///
/// # Errors
///
/// If the file is missing or not a regular file, or a link leads out of the store.
pub(crate) fn open_in_store(path: &Path) -> io::Result<File> {
    open_in_store_directory(local_store(), path)
}

fn open_in_store_directory(store: &StoreDir, path: &Path) -> io::Result<File> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Some((whole, inside)) = in_store_directory(store, &path) else {
            let what = format!(
                "a link leads to {}, which is not in the Nix store {}",
                path.display(),
                store.as_path().display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        };
        let name = Path::new(whole.as_path().file_name().unwrap_or_default()).join(inside);
        // Rebuilding the path from its components removes a trailing slash, which only directories may have.
        let name: PathBuf = name.components().collect();
        match Beneath::open(store.as_path())?.entry(&name)? {
            DirectoryEntry::File(file) => return Ok(file),
            DirectoryEntry::Link(target) => path = normalize(&store.as_path().join(target)),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {MAX_LINKS} links lead to it")))
}

/// Removes `.` and `..` from a path. This is correct because [`Beneath`] follows no links to directories.
fn normalize(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normalized.pop()),
            Component::CurDir => {}
            part => normalized.push(part),
        }
    }
    normalized
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_links_within_a_store_are_followed() {
        let top = tempfile::tempdir().unwrap();
        let store = StoreDir::new(top.path());
        let open_in_store = |path: &Path| open_in_store_directory(&store, path);
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
        // The name has the form of a store path, but its directory is not the store.
        let private = top.path().join(format!("home/{}-wallet", "3".repeat(32)));
        fs::create_dir_all(&private).unwrap();
        fs::write(private.join("key"), "secret").unwrap();
        symlink(private.join("key"), layout.join("wallet")).unwrap();
        assert!(open_in_store(&private.join("key")).is_err());
        for name in ["wallet", "out", "up", "process", "loop", "missing", "../secret", ""] {
            assert!(open_in_store(&layout.join(name)).is_err(), "{name}");
        }
    }
}
