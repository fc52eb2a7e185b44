//! Programs given as images: a stream of strata leads to its image; other programs are errors that name the next step.
//!
//! ```text
//! #!/nix/store/…-strata/bin/strata program
//! stream
//! /nix/store/…-recipe            read as if it were given
//! ```

use std::path::{Path, PathBuf};

use crate::{closure::StorePath, image::OpenError};

/// The image that a stream writes, if `text`, the beginning of a program, is one of strata's.
///
/// # Errors
///
/// When it is another program, with what to do instead.
pub(super) fn image_of(path: &Path, text: &str) -> Result<PathBuf, OpenError> {
    let fail = |why: String| OpenError::NotImage { path: path.to_owned(), why };
    let run = format!("run it instead: {} | strata copy - DEST", path.display());
    let mut lines = text.lines();
    if !lines.next().is_some_and(|first| first.ends_with("/strata program")) {
        return Err(fail(format!("it is a program, not an image; if it writes an archive, {run}")));
    }
    match (lines.next(), lines.next(), lines.next()) {
        // Of a recipe of another's making only the Nix store is read.
        (Some("stream"), Some(image), None) if StorePath::parse(image).is_ok() => Ok(image.into()),
        (Some("stream"), ..) => Err(fail(format!("its image is made when it runs; {run}"))),
        (Some("copy"), ..) => Err(fail("it is a program that copies an image; run it, or give its image".to_owned())),
        _ => Err(fail("it is a program of strata, not an image".to_owned())),
    }
}

/// What a directory is that holds no image.
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
