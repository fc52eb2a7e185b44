//! Programs that are given as images: a stream program of strata leads to its image. Other programs are errors with a
//! remedy.
//!
//! ```text
//! #!/nix/store/…-strata/bin/strata program
//! stream
//! /nix/store/…-recipe            read instead of the program
//! ```

use std::path::{Path, PathBuf};

use crate::{
    closure::StorePath,
    image::{OpenError, local_store},
};

/// Returns the image of a stream program of strata, if `text` is the beginning of one.
///
/// # Errors
///
/// If it is another program. The error has a remedy.
pub(super) fn image_of(path: &Path, text: &str) -> Result<PathBuf, OpenError> {
    let fail = |why: String| OpenError::NotImage { path: path.to_owned(), why };
    let run = format!("run it instead: {} | strata copy - DEST", path.display());
    let mut lines = text.lines();
    if !lines.next().is_some_and(|first| first.ends_with("/strata program")) {
        return Err(fail(format!("it is a program, not an image; if it writes an archive, {run}")));
    }
    match (lines.next(), lines.next(), lines.next()) {
        // In a script, only paths in the store of this machine are accepted.
        (Some("stream"), Some(image), None) if local_store().parse(image).is_ok() => Ok(image.into()),
        (Some("stream"), ..) => Err(fail(format!("its image is made when it runs; {run}"))),
        (Some("copy"), ..) => Err(fail("it is a program that copies an image; run it, or give its image".to_owned())),
        _ => Err(fail("it is a program of strata, not an image".to_owned())),
    }
}

/// Returns the error for a directory without an image.
pub(super) fn directory(path: &Path) -> OpenError {
    let programs = std::fs::read_dir(path.join("bin")).map(|programs| {
        let mut names: Vec<String> =
            programs.flatten().map(|program| program.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    });
    let why = match programs {
        Ok(names) if names.iter().any(|name| name.starts_with("copy-to")) => {
            "it is a package with a program that copies an image; run that, or give the image itself".to_owned()
        }
        Ok(names) if !names.is_empty() => format!(
            "it is a package with programs ({}{}), not an image; put it into one with buildImage",
            names[..names.len().min(3)].join(", "),
            if names.len() > 3 { ", …" } else { "" }
        ),
        _ if StorePath::parse(&path.to_string_lossy()).is_ok() => {
            "it is a store path without an image; put it into one with buildImage".to_owned()
        }
        _ => return OpenError::Unknown(path.to_owned()),
    };
    OpenError::NotImage { path: path.to_owned(), why }
}
