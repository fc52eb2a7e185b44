//! Follows links as if a directory were the root directory.
//!
//! ```text
//! bin -> usr/bin, usr/bin -> /opt/bin      bin/sh is opt/bin/sh, below the directory
//! up -> ../../..                           up/etc is etc: nothing is above the root
//! ```

use std::{
    borrow::Cow,
    ffi::OsStr,
    io,
    path::{Component, Path, PathBuf},
};

/// The maximum number of links in one path. It is the limit of Linux, too.
pub const LIMIT: usize = 40;
/// The length of the longest path in Linux, without the NUL at its end (limits.h, PATH_MAX).
pub const PATH_LIMIT: usize = 4095;

/// Returns the path that `path` leads to, relative to the root. `target` returns the target of the link at a path.
///
/// # Errors
///
/// If there are more than [`LIMIT`] links, or a path or the targets together have more than [`PATH_LIMIT`] bytes. A layer would
/// otherwise make each of its entries expensive with one long target.
pub fn follow<'a>(path: &'a Path, mut target: impl FnMut(&Path) -> Option<Cow<'a, Path>>) -> io::Result<PathBuf> {
    let (mut here, mut left, mut links) = (PathBuf::new(), parts(Cow::Borrowed(path)), 0);
    let mut remaining = PATH_LIMIT;
    while let Some(part) = left.pop() {
        match Path::new(&*part).components().next() {
            Some(Component::Normal(name)) => {
                here.push(name);
                if here.as_os_str().len() > PATH_LIMIT {
                    return Err(too_long());
                }
                let Some(target) = target(&here) else { continue };
                links += 1;
                if links > LIMIT {
                    return Err(too_many());
                }
                remaining = remaining.checked_sub(target.as_os_str().len()).ok_or_else(too_long)?;
                here.pop();
                left.extend(parts(target));
            }
            Some(Component::RootDir) => here.clear(),
            Some(Component::ParentDir) => drop(here.pop()),
            _ => {}
        }
    }
    Ok(here)
}

pub fn too_many() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "too many levels of symlinks")
}

pub fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a path of more than {PATH_LIMIT} bytes"))
}

/// Returns the components, the last one first.
fn parts(path: Cow<'_, Path>) -> Vec<Cow<'_, OsStr>> {
    match path {
        Cow::Borrowed(path) => path.components().rev().map(|part| Cow::Borrowed(part.as_os_str())).collect(),
        Cow::Owned(path) => path.components().rev().map(|part| Cow::Owned(part.as_os_str().to_owned())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_below_the_root() {
        let links = [
            ("bin", "usr/bin"),
            ("usr/bin", "/opt/bin"),
            ("opt/here", "."),
            ("opt/empty", ""),
            ("a/up", "../../.."),
            ("loop", "loop"),
        ];
        let found = |path: &'static str| {
            let target = |here: &Path| {
                let link = links.iter().find(|(link, _)| Path::new(link) == here);
                link.map(|(_, target)| Cow::Borrowed(Path::new(*target)))
            };
            follow(Path::new(path), target).map_err(|error| error.to_string())
        };
        for (path, expected) in [
            ("bin/sh", "opt/bin/sh"),
            ("/usr/./bin//x", "opt/bin/x"),
            ("opt/here/x", "opt/x"),
            ("opt/empty/x", "opt/x"),
            ("a/up/etc", "etc"),
            ("../x", "x"),
            ("", ""),
        ] {
            assert_eq!(found(path), Ok(PathBuf::from(expected)), "{path}");
        }
        assert_eq!(found("loop/x").unwrap_err(), "too many levels of symlinks");
    }
}
