//! skopeo's `dir:`: `version`, `manifest.json`, and each blob by its bare digest.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    budget,
    files::{self, NewDirectory},
    image::{Image, ManifestGraph},
    oci::Digest,
    transport::{
        Outcome, WriteError, WriteOptions, WriteTransport,
        blob_files::{BlobFiles, LayoutError, write::io_error},
        write::{one_image, some_path},
    },
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn WriteTransport>, String> {
    Ok(Arc::new(DirWriter { directory: some_path(rest)? }))
}

#[derive(Debug)]
struct DirWriter {
    directory: PathBuf,
}

impl WriteTransport for DirWriter {
    fn write(&self, content: &ManifestGraph, _: &WriteOptions) -> Result<Outcome, WriteError> {
        Ok(Outcome::new(write(one_image(content)?, &self.directory)?))
    }
}

/// The contents of `version`.
const VERSION: &str = "Directory Transport Version: 1.1\n";

/// Writes `image` in the format of skopeo's `dir:directory`: `version`, `manifest.json`, and each blob by its bare
/// digest. The new directory replaces an existing one in one step.
///
/// # Errors
///
/// [`LayoutError`]. An existing directory is unchanged then.
pub fn write(image: &Image, directory: &Path) -> Result<Digest, LayoutError> {
    let fail = || io_error(directory);
    check_is_ours(directory)?;
    fs::create_dir_all(files::directory(directory)).map_err(fail())?;
    let new = NewDirectory::create(directory).map_err(fail())?;
    let digest = write_into(image, new.path())?;
    new.finish().map_err(fail()).map(|()| digest)
}

/// Writes directly to a private directory, such as the output of a derivation.
///
/// # Errors
///
/// [`LayoutError`].
pub fn write_into(image: &Image, directory: &Path) -> Result<Digest, LayoutError> {
    let blobs = BlobFiles::new(directory, Digest::hex);
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        files::write(&path, bytes).map_err(io_error(&path))
    };
    fs::create_dir_all(directory).map_err(io_error(directory))?;
    write("version", VERSION.as_bytes())?;
    blobs.write_all(image)?;
    write("manifest.json", &image.manifest)?;
    Ok(image.digest())
}

/// Refuses to replace a directory that contains other files.
fn check_is_ours(directory: &Path) -> Result<(), LayoutError> {
    let mut entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(directory)(error)),
    };
    let version = files::read_bounded(&directory.join("version"), &budget::VERSION).unwrap_or_default();
    if entries.next().is_none() || version.starts_with(b"Directory Transport Version:") {
        return Ok(());
    }
    Err(LayoutError::NotOurs(directory.to_owned()))
}
