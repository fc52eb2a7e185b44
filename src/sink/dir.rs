//! skopeo's `dir:`: `version`, `manifest.json`, and each blob by its bare digest.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    destination::{Holds, Scheme, Sink, WriteError, WriteOptions, Written, one_image},
    layout::{Blobs, LayoutError},
};
use crate::{blobs::ImageBlobs, content::Content, oci::Digest};

/// `dir:DIR`
pub const SCHEME: Scheme = Scheme {
    name: "dir",
    syntax: "dir:DIR",
    about: "directory of blobs, as skopeo writes it",
    holds: Holds::Image,
    parse: |rest| Ok(Arc::new(Dir { directory: rest.into() })),
};

#[derive(Debug)]
struct Dir {
    directory: PathBuf,
}

impl Sink for Dir {
    fn write(&self, content: &Content, _: &WriteOptions) -> Result<Written, WriteError> {
        Ok(Written::new(write(one_image(content)?, &self.directory)?))
    }
}

/// Writes `image` as skopeo writes `dir:directory`: `version`, `manifest.json`, and each blob by its bare digest.
/// What was there before is replaced.
///
/// # Errors
///
/// [`LayoutError`]; the manifest is written last.
pub fn write(image: &ImageBlobs, directory: &Path) -> Result<Digest, LayoutError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| LayoutError::Io { path, source }
    };
    let blobs = Blobs::create(directory)?;
    let version = directory.join("version");
    fs::write(&version, b"Directory Transport Version: 1.1\n").map_err(fail(&version))?;
    blobs.write_all(image)?;
    let manifest = directory.join("manifest.json");
    fs::write(&manifest, &image.manifest).map_err(fail(&manifest))?;
    Ok(image.digest())
}
