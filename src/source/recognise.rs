//! A path, told apart by content: a recipe, an OCI layout, skopeo's `dir:`, or an archive.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use super::{Opened, SourceError, dir, layout, scan};
use crate::{files, image::Image, layer::Packing};

/// Opens an image of any kind.
///
/// # Errors
///
/// [`SourceError`], which names the file, and the part of it.
pub fn open(path: &Path) -> Result<Opened, SourceError> {
    let fail = |source| SourceError::Io { act: "opening".to_owned(), path: path.to_owned(), source };
    if fs::metadata(path).map_err(fail)?.is_dir() {
        return if path.join("oci-layout").exists() {
            layout::open(path).map(Opened::Found)
        } else if path.join("manifest.json").exists() {
            dir::open(path).map(Opened::Found)
        } else if path.join("image.json").exists() {
            Ok(Opened::Recipe(Box::new(Image::open(path.join("image.json"))?)))
        } else {
            Err(SourceError::Unknown(path.to_owned()))
        };
    }
    let mut file = File::open(path).map_err(fail)?;
    let mut start = Vec::new();
    (&mut file).take(512).read_to_end(&mut start).map_err(fail)?;
    let is_tar = start.get(257..262) == Some(b"ustar");
    let is_recipe = start.trim_ascii_start().starts_with(b"{");
    if !is_recipe && !is_tar && Packing::of(&start) == Packing::Plain {
        return Err(SourceError::Unknown(path.to_owned()));
    }
    // A pipe is read once.
    if files::is_stream(path) {
        let all = start.chain(file);
        return match is_recipe {
            true => Ok(Opened::Recipe(Box::new(Image::read(all, path)?))),
            false => scan::open_stream(all, path).map(Opened::Found),
        };
    }
    match is_recipe {
        true => Ok(Opened::Recipe(Box::new(Image::open(path)?))),
        false => scan::open(path).map(Opened::Found),
    }
}
