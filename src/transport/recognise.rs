//! A path, told apart by content: a recipe, an OCI layout, skopeo's `dir:`, or an archive.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use super::{archive, dir, layout};
use crate::{
    files,
    image::{OpenError, Opened, Recipe},
    layer::DetectedCompression,
};

/// Opens an image of any kind.
///
/// # Errors
///
/// [`OpenError`], which names the file, and the part of it.
pub fn open(path: &Path) -> Result<Opened, OpenError> {
    let fail = |source| OpenError::Io { act: "opening".to_owned(), path: path.to_owned(), source };
    if fs::metadata(path).map_err(fail)?.is_dir() {
        return if path.join("oci-layout").exists() {
            layout::read::open(path).map(Opened::Found)
        } else if path.join("manifest.json").exists() {
            dir::read::open(path).map(Opened::Found)
        } else if path.join("image.json").exists() {
            let recipe = path.join("image.json");
            // A pipe in its place must not wait for its other end.
            files::open_plain(&recipe).map_err(fail)?;
            Ok(Opened::Recipe(Box::new(Recipe::open(recipe)?)))
        } else {
            Err(OpenError::Unknown(path.to_owned()))
        };
    }
    let mut file = File::open(path).map_err(fail)?;
    let mut start = Vec::new();
    (&mut file).take(512).read_to_end(&mut start).map_err(fail)?;
    let is_tar = start.get(257..262) == Some(b"ustar");
    let is_recipe = start.trim_ascii_start().starts_with(b"{");
    if !is_recipe && !is_tar && DetectedCompression::of(&start) == DetectedCompression::Plain {
        return Err(OpenError::Unknown(path.to_owned()));
    }
    // A pipe is read once.
    if files::is_stream(path) {
        let all = start.chain(file);
        return match is_recipe {
            true => Ok(Opened::Recipe(Box::new(Recipe::read(all, path)?))),
            false => archive::read::open_stream(all, path).map(Opened::Found),
        };
    }
    match is_recipe {
        true => Ok(Opened::Recipe(Box::new(Recipe::open(path)?))),
        false => archive::read::open(path).map(Opened::Found),
    }
}
